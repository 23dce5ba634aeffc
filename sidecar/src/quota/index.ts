export { Quotas, type QuotaView } from './quotas.ts';
export { connectRedis } from './redis-connection.ts';
export { SharedStore } from './shared-store.ts';
export type { QuotaShortage } from './shortage.ts';
export { type QuotaLease, type QuotaSubject, UNLIMITED } from './subject.ts';
