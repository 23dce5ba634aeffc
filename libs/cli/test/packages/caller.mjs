// A project that only installed the package: streams a generation over the network and through a sidecar, is refused, and
// prints what came of it as JSON.
import { CallFailure, connect, toCallFailure } from '@gatehouse/client';
import { GenerateRequest, InferenceServiceClient } from '@gatehouse/client/inference';

const [address, certificateFile, keyFile, bundleFile, sidecar] = process.argv.slice(2);
const identity = { certificateFile, keyFile, bundleFile };
const inference = 'spiffe://gatehouse.local/ns/local/sa/inference';

async function generate(way, model) {
  const mesh = connect(way);
  const request = GenerateRequest.fromPartial({
    model,
    input: { $case: 'prompt', value: 'Once upon a time' },
    maxTokens: 5,
  });
  let tokens = 0;
  try {
    for await (const { event } of mesh.stub(InferenceServiceClient, 'inference').streamGenerate(request))
      if (event?.$case === 'delta') tokens = event.value.outputTokens;
    return { tokens };
  } catch (error) {
    const failure = toCallFailure(error);
    if (!(failure instanceof CallFailure)) throw error;
    return { code: failure.codeName, reason: failure.reason, message: failure.message };
  } finally {
    mesh.close();
  }
}

const model = 'smollm2-135m-instruct';
console.log(
  JSON.stringify({
    network: await generate({ address, serverIdentity: inference, identity }, model),
    sidecar: await generate({ sidecar }, model),
    unknownModel: await generate({ address, serverIdentity: inference, identity }, 'no-such-model'),
    stranger: await generate({ address, serverIdentity: `${inference}-of-others`, identity }, model),
  }),
);
