import './base/require-node.ts'

export type { ContractCase } from './testing/contract-case.ts'
export { type DiskUnderTest, diskContract } from './testing/disk.ts'
export { type LockableStore, lockedObjectsContract } from './testing/locked-objects.ts'
export { objectStoreContract, type StoreUnderTest } from './testing/object-store.ts'
export { type RecordWrite, type SourceTraits, type SourceUnderTest, sourceContract } from './testing/source.ts'
export { type TargetTraits, type TargetUnderTest, targetContract } from './testing/target.ts'
