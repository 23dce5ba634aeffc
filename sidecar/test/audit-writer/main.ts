// Writes audit records as fast as it can and says after each write how many are on disk, until it is killed.
import { writeSync } from 'node:fs';
import { AuditRecord } from '@gatehouse/contracts/audit';
import { generateSigningKey, openAudit, readSigningKey } from '../../src/audit/index.ts';

const [folder = '', life = '', keyPem = generateSigningKey().privatePem] = process.argv.slice(2);
const key = readSigningKey(keyPem);
if (typeof key === 'string') throw new Error(key);
const opened = await openAudit({
  folder,
  limits: {
    segmentBytesMax: 64 * 1024,
    segmentsKeptMax: null,
    recordsWaitingMax: 10_000,
    groupMsMax: 1,
    writeMsMax: 5000,
    retryMs: 10,
  },
  clock: () => performance.timeOrigin + performance.now(),
  onFailing: () => {},
  onRecovered: () => {},
  onWritten: () => {},
  signing: { key, everyEntries: 500, everyMs: 1000, onCheckpoint: () => {}, onFailure: () => {} },
  workload: 'spiffe://test.gatehouse/sa/writer',
  policyVersion: 'test',
  onBroken: 'refuse',
});
if ('problem' in opened) {
  process.stderr.write(`${opened.problem}\n`);
  process.exit(1);
}
for (let written = 0; ; ) {
  const burst = 1 + Math.floor(Math.random() * 40);
  for (let i = 0; i < burst; i++) {
    const decisionId = `${life}-${written++}`;
    opened.log.append(AuditRecord.fromPartial({ decisionId, method: 'x'.repeat(Math.random() * 2000) }));
  }
  if (await opened.log.durable()) writeSync(1, `${written}\n`);
}
