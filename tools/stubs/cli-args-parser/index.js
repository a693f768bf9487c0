// Stands in for a package that the registry does not serve; s3db.js needs it for its own command line only.
export default function parse() {
  throw new Error('cli-args-parser is a stub: the s3db.js command line does not run in this checkout')
}
