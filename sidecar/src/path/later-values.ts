import type { FieldValues } from '@gatehouse/contracts';

/**
 * What a later message of a stream changes of what the call asks for. What it leaves out stays as it was, save that another
 * model has no version of the one before.
 * @returns null where it changes nothing that policy decides by
 */
export function laterValues(before: FieldValues | null, message: FieldValues): FieldValues | null {
  const namesModel = message.model !== undefined && message.model !== before?.model;
  const next: FieldValues = {
    ...message,
    model: message.model ?? before?.model,
    modelVersion: message.modelVersion ?? (namesModel ? undefined : before?.modelVersion),
    outputTokensLimit: message.outputTokensLimit ?? before?.outputTokensLimit,
    priority: message.priority ?? before?.priority,
  };
  const isSame =
    next.model === before?.model &&
    next.modelVersion === before?.modelVersion &&
    next.outputTokensLimit === before?.outputTokensLimit &&
    next.priority === before?.priority;
  return isSame ? null : next;
}
