import type { Contract } from '@gatehouse/contracts';
import { Sensitivity } from '@gatehouse/contracts/annotations';
import { Direction, type Protection, ProtectionAction } from '@gatehouse/contracts/policy';
import { CompiledMatch } from './call-match.ts';

type ProtectionActionName = 'redact' | 'refuse' | 'pseudonymise' | 'pseudonymise-reversibly' | 'record';

/** One protection of the document: what is looked for where, and what becomes of it. */
export interface CompiledProtection {
  readonly id: string;
  readonly match: CompiledMatch;
  readonly onRequest: boolean;
  readonly onResponse: boolean;
  readonly sensitivities: ReadonlySet<Sensitivity>;
  /** Built-in names or the document's own. */
  readonly detectors: readonly string[];
  readonly action: ProtectionActionName;
  /** Empty: no key is needed. */
  readonly key: string;
}

const SENSITIVITIES_DEFAULT = [
  Sensitivity.SENSITIVITY_PROMPT,
  Sensitivity.SENSITIVITY_COMPLETION,
  Sensitivity.SENSITIVITY_EMBEDDING_INPUT,
];

export function compileProtection(protection: Protection, contract: Contract): CompiledProtection {
  const { directions, sensitivities } = protection;
  return {
    id: protection.id,
    match: new CompiledMatch(protection.match, contract),
    onRequest: directions.length === 0 || directions.includes(Direction.DIRECTION_REQUEST),
    onResponse: directions.length === 0 || directions.includes(Direction.DIRECTION_RESPONSE),
    sensitivities: new Set(sensitivities.length > 0 ? sensitivities : SENSITIVITIES_DEFAULT),
    detectors: protection.detectors,
    action: actionName(protection.action),
    key: protection.key,
  };
}

/** What is not known is refused, never passed. */
function actionName(action: ProtectionAction): ProtectionActionName {
  switch (action) {
    case ProtectionAction.PROTECTION_ACTION_REDACT:
      return 'redact';
    case ProtectionAction.PROTECTION_ACTION_PSEUDONYMISE:
      return 'pseudonymise';
    case ProtectionAction.PROTECTION_ACTION_PSEUDONYMISE_REVERSIBLY:
      return 'pseudonymise-reversibly';
    case ProtectionAction.PROTECTION_ACTION_RECORD:
      return 'record';
    default:
      return 'refuse';
  }
}
