// Stands in for an HTTP client that the registry does not serve in the version s3db.js pins.
// Every function refuses: s3db.js runs here on memory://, file://, and on S3 with an AWS SDK client handed to it.
const refuse = (name) => () => {
  throw new Error(`recker is a stub: ${name} does not exist in this checkout`)
}
export const createClient = refuse('createClient')
export const createRedDbClient = refuse('createRedDbClient')
export const expandHTTP2Options = refuse('expandHTTP2Options')
export const parseHttp2Error = refuse('parseHttp2Error')
export const createHttp2MetricsHooks = refuse('createHttp2MetricsHooks')
export const getGlobalHttp2Metrics = refuse('getGlobalHttp2Metrics')
export class Http2Error extends Error {}
export class TemplateEngine {
  constructor() {
    refuse('TemplateEngine')()
  }
}
