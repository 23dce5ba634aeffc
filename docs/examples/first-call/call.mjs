// A streamed generation from Node, over mTLS: node docs/examples/first-call/call.mjs (while `npm start` runs)
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../../libs/local-mesh/package.json', import.meta.url));
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const root = new URL('../../../', import.meta.url).pathname;
const identities = `${root}.gatehouse/identities`;
const read = (file) => readFileSync(`${identities}/${file}`);

const definition = loader.loadSync('gatehouse/inference/v1/inference.proto', {
  includeDirs: [`${root}protos`, `${root}protos/third_party`],
});
const { InferenceService } = grpc.loadPackageDefinition(definition).gatehouse.inference.v1;
const credentials = grpc.credentials.createSsl(
  read('bundle.pem'),
  read('developer/key.pem'),
  read('developer/certificate.pem'),
);
const client = new InferenceService('localhost:8443', credentials);

const call = client.streamGenerate(
  { model: 'smollm2-135m-instruct', prompt: 'The capital of France is', maxTokens: 16 },
  { deadline: Date.now() + 30_000 },
);
call.on('data', ({ delta }) => process.stdout.write(delta?.text ?? ''));
call.on('error', (error) => console.error(error.details));
call.on('end', () => {
  console.log();
  client.close();
});
