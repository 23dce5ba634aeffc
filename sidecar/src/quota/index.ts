export { Quotas, type QuotaView } from './quotas.ts';
export { connectRedis, type RedisAddress } from './redis-connection.ts';
export { SharedStore } from './shared-store.ts';
export type { QuotaShortage } from './shortage.ts';
export type { QuotaLease, QuotaSubject } from './subject.ts';
