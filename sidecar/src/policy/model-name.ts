/** What a caller asks for: a model, and which version of it. */
export interface ModelName {
  readonly name: string;
  /** Null: none is asked for. */
  readonly version: string | null;
}

/** Parts `name@version`, as models are written in policy, in decisions and in audit records. */
export function splitModel(text: string): ModelName {
  const at = text.indexOf('@');
  return at < 0 ? { name: text, version: null } : { name: text.slice(0, at), version: text.slice(at + 1) };
}

/**
 * The model of a request as `name` or `name@version`. Null: it names none. A name that holds an `@` already speaks of that
 * version, so that no rule about the name is got round by writing the version into it.
 */
export function modelOf(
  values: { readonly model?: string | undefined; readonly modelVersion?: string | undefined } | null,
): string | null {
  const model = values?.model;
  const version = values?.modelVersion;
  if (model === undefined) return null;
  return version === undefined || version === '' || model.includes('@') ? model : `${model}@${version}`;
}
