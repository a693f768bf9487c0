import { type Logger, pino } from 'pino'

export type { Logger }

/** A logger that writes JSON lines to stderr; stdout belongs to data. `level` defaults to `TIDEMARK_LOG` or `warn`. */
export function createLogger(level: string = process.env.TIDEMARK_LOG ?? 'warn'): Logger {
  return pino(
    {
      name: 'tidemark',
      level,
      redact: ['encryption', '*.encryption', '*.passphrase', '*.credentials', '*.secretAccessKey', '*.accessKeyId'],
    },
    pino.destination(2),
  )
}
