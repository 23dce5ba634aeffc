import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Contract } from '@gatehouse/contracts';
import { formatProblem } from '@gatehouse/documents';
import { compilePolicy, type Policy } from '../policy/index.ts';
import { detectorProblem } from '../protect/index.ts';
import { readSigners, SIGNATURE_SUFFIX, type SignedFile, signatureProblem } from './policy-signature.ts';

export type DocumentOptions = {
  readonly contract: Contract;
  /** A JWKS: only documents signed by one of its keys are taken. Undefined: any document is. */
  readonly signersFile: string | undefined;
  /** Names of the keys that protections may use. */
  readonly protectionKeys: ReadonlySet<string> | undefined;
};

/** Why a document is not taken: a name for metrics, and a sentence a problem. */
export type DocumentRefusal = {
  readonly reason: 'UNREADABLE' | 'INVALID' | 'SIGNATURE';
  readonly problems: readonly string[];
};

export type LoadedDocument = {
  readonly result: { readonly policy: Policy } | DocumentRefusal;
  /** What has to be followed: the document first. Files that are not there are empty. */
  readonly files: readonly SignedFile[];
};

/** Reads and compiles a document with all that it includes, and checks its signature where one is asked for. */
export async function loadDocument(file: string, options: DocumentOptions): Promise<LoadedDocument> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const problem = `${file}: cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    return { result: { reason: 'UNREADABLE', problems: [problem] }, files: [{ file, text: '' }] };
  }
  const { contract, signersFile, protectionKeys } = options;
  const compiled = compilePolicy(text, {
    contract,
    fileName: file,
    readFile: (name) => readFileSync(name, 'utf8'),
    detectorProblem,
    ...(protectionKeys && { protectionKeys }),
  });
  const result =
    'policy' in compiled
      ? { policy: compiled.policy }
      : { reason: 'INVALID' as const, problems: compiled.problems.map(formatProblem) };
  if (signersFile === undefined) return { result, files: compiled.files };
  // Whoever has not signed does not get to hear what is wrong with the rest.
  const signed = await checkSignature(compiled.files, signersFile);
  return {
    result: signed.problem === '' ? result : { reason: 'SIGNATURE', problems: [signed.problem] },
    files: [...compiled.files, ...signed.files],
  };
}

async function checkSignature(
  files: readonly SignedFile[],
  signersFile: string,
): Promise<{ readonly problem: string; readonly files: readonly SignedFile[] }> {
  const signatureFile = `${files[0]?.file ?? ''}${SIGNATURE_SUFFIX}`;
  const [signature, signers] = await Promise.all([readOrEmpty(signatureFile), readOrEmpty(signersFile)]);
  const read = [
    { file: signatureFile, text: signature },
    { file: signersFile, text: signers },
  ];
  const parsed = readSigners(signers);
  if ('problem' in parsed) return { problem: `${signersFile}: ${parsed.problem}`, files: read };
  if (signature === '') {
    const problem = `${signatureFile}: expected a signature by one of the keys of ${signersFile}; gatehouse policy sign writes one`;
    return { problem, files: read };
  }
  const problem = await signatureProblem(files, signature, parsed.keys);
  return { problem: problem === '' ? '' : `${signatureFile}: ${problem}`, files: read };
}

async function readOrEmpty(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}
