/** HTTP/2 for the data path, in both roles. The folder's one public face; README.md says what is implemented where. */
export { Connection, type ConnectionClose, type ConnectionHandler } from './connection.ts';
export { ErrorCode } from './error-code.ts';
export { type Field, FieldKind, field, fieldMaker } from './field.ts';
export { type ConnectionSettings, defaultSettings } from './settings.ts';
export type { Stream, StreamHandler, StreamReset } from './stream.ts';
