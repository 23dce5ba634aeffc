/** What tools need of the sidecar: to read its files as it does, and to ask its policy. */
export { loadContractFiles } from './config/load-contract-files.ts';
export { parseConfig } from './config/parse.ts';
export { type SidecarConfig, sidecarConfigJsonSchema } from './config/schema.ts';
export {
  compilePolicy,
  type ExpectationResult,
  explainPolicy,
  type Policy,
  policyJsonSchema,
  runExpectations,
} from './policy/index.ts';
