/** Contracts that applications call, as folders of protos/gatehouse. */
export const SERVICES = ['inference', 'embeddings', 'orchestration'] as const;

/** Options are for sidecars and services; a stub that had them would need their generated code as well. */
export const NOT_FOR_STUBS = ['buf.validate', 'gatehouse.policy.v1'];
