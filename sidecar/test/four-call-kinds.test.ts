import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestMesh, type TestMesh } from './support/test-mesh.ts';

let mesh: TestMesh;
beforeAll(async () => {
  mesh = await startTestMesh();
});
afterAll(async () => {
  await mesh.stop();
});

test('unary goes through two sidecars', async () => {
  const client = mesh.client();
  const answer = await new Promise<any>((resolve, reject) => {
    client.unary({ text: 'hello' }, (error: Error | null, response: unknown) => (error ? reject(error) : resolve(response)));
  });
  expect(answer.text).toBe('hello');
  console.log(answer);
});
