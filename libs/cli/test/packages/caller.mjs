// A project that only installed the package: streams a generation, then is refused, and prints both as JSON.
import { CallFailure, connect, toCallFailure } from '@gatehouse/client';
import { GenerateRequest, InferenceServiceClient } from '@gatehouse/client/inference';

const [address, certificateFile, keyFile, bundleFile] = process.argv.slice(2);
const mesh = connect({
  address,
  serverIdentity: 'spiffe://gatehouse.local/ns/local/sa/inference',
  identity: { certificateFile, keyFile, bundleFile },
});
const inference = mesh.stub(InferenceServiceClient);
const request = (model) =>
  GenerateRequest.fromPartial({ model, input: { $case: 'prompt', value: 'Once upon a time' }, maxTokens: 5 });
let tokens = 0;
for await (const { event } of inference.streamGenerate(request('smollm2-135m-instruct')))
  if (event?.$case === 'delta') tokens = event.value.outputTokens;
let failure;
try {
  for await (const _ of inference.streamGenerate(request('no-such-model')));
} catch (error) {
  failure = toCallFailure(error);
}
if (!(failure instanceof CallFailure)) throw new Error('the call did not fail');
const { codeName, reason, message } = failure;
console.log(JSON.stringify({ tokens, failure: { codeName, reason, message } }));
mesh.close();
