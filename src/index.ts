import './base/require-node.ts'

export type { Clock } from './base/clock.ts'
export { type ErrorCategory, type ErrorCode, TidemarkError } from './base/errors.ts'
export type { Disk, DiskEntry, DiskFile } from './capture/disk.ts'
export type { FindingCount } from './capture/findings.ts'
export type { SealOptions } from './capture/sealer.ts'
export type { Images, KnownImages, Sink, Source, Write } from './capture/source.ts'
export type { Adapter, AdapterDatabase, TargetRequest } from './engine/adapter.ts'
export type { CompactOptions, CompactReport } from './engine/compaction.ts'
export { type Attribution, as, currentContext } from './engine/context.ts'
export type { DrillOptions } from './engine/drill.ts'
export type { EndStreamOptions } from './engine/end-stream.ts'
export type { EraseOptions, EraseResult } from './engine/erasure.ts'
export type { AcknowledgeOptions } from './engine/gaps.ts'
export type { HoldOptions } from './engine/holds.ts'
export type { JournalOptions } from './engine/journal-options.ts'
export type { MarkOptions } from './engine/marks.ts'
export type { PruneOptions, PruneReport, ScheduledRetention } from './engine/prune.ts'
export type { ReconcileOptions } from './engine/reconcile.ts'
export { type RepairOptions, type RepairReport, repairStore } from './engine/repair.ts'
export type { OnDifference, Progress, RestoreResult } from './engine/restore.ts'
export type { PrunedReport, Retention } from './engine/retention.ts'
export type { ScheduleOptions } from './engine/schedule.ts'
export type { TakeOptions } from './engine/snapshots.ts'
export type { Status } from './engine/status.ts'
export type { StoreAdapter } from './engine/store-adapter.ts'
export type { Ack } from './engine/streams.ts'
export { Tidemark } from './engine/tidemark.ts'
export type {
  CloseOptions,
  DryRunOptions,
  RestoreOptions,
  TidemarkOptions,
  UpkeepOptions,
  VerifyOptions,
} from './engine/tidemark-options.ts'
export type { JsonRecord, View } from './engine/view.ts'
export type { DrillProof } from './format/drill-file.ts'
export { makeImage } from './format/make-image.ts'
export {
  type Change,
  type Context,
  type Event,
  fingerprint,
  type Image,
  type Item,
  type Kind,
  NO_CONTEXT,
  type Operation,
  type Stamp,
  sameImage,
} from './model/event.ts'
export type { Finding, FoundInterval } from './model/found.ts'
export type { Acknowledgement, KnownGap, Loss } from './model/gap.ts'
export type { Hold } from './model/hold.ts'
export type { Mark } from './model/mark.ts'
export { compareItems } from './model/order.ts'
export type { SnapshotEntry } from './model/timeline.ts'
export type { Moment } from './restore/moment.ts'
export type { Plan } from './restore/plan.ts'
export type { Preview, Sample } from './restore/preview.ts'
export type { ConflictRule, Difference, Fitted, ItemState, OnConflict, Selection, Target } from './restore/target.ts'
export type { GapReport, Verdict } from './restore/verdict.ts'
export type { EncryptionOptions } from './store/encryption/secret.ts'
export type { Keeping, KeptVersions } from './store/keeping.ts'
export { checkBody, checkKey, checkRange, objectExists, objectNotFound, objectTooShort } from './store/keys.ts'
export type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './store/object-store.ts'
export type { StoreSpec } from './store/open.ts'
export { deletionRefused, type Undeleted } from './store/refusals.ts'
export type { Compaction, Merged } from './upkeep/compaction/compact.ts'
export type { Reconciliation } from './upkeep/reconcile.ts'
export type { GfsPolicy, RetentionPolicy } from './upkeep/retention/policy.ts'
export type { TakenSnapshot } from './upkeep/snapshot.ts'
export type { SnapshotPolicy } from './upkeep/snapshot-due.ts'
export type { Damage } from './upkeep/verify/inspection.ts'
export type { Verification } from './upkeep/verify.ts'
