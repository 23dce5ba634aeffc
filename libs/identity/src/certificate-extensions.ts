/** What the extensions of one certificate say (RFC 5280 §4.2.1), as far as an identity needs it. */
export type CertificateExtensions = {
  /** Every uniformResourceIdentifier name, byte for byte as latin1. */
  readonly uris: readonly string[];
  readonly ca: boolean;
  /** Bits of KeyUsage, bit 0 (digitalSignature) lowest; null without the extension. */
  readonly keyUsage: number | null;
  /** Object identifiers of ExtendedKeyUsage as hex of their DER content; null without the extension. */
  readonly purposes: readonly string[] | null;
};

/** One DER element: its tag byte and where its content lies. */
type Element = { readonly tag: number; readonly start: number; readonly end: number };

const BOOLEAN = 0x01;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const SEQUENCE = 0x30;
/** `[3] EXPLICIT Extensions` of TBSCertificate. */
const EXTENSIONS = 0xa3;
/** `[6] IMPLICIT IA5String` of GeneralName. */
const URI_NAME = 0x86;

/** DER contents of the identifiers 2.5.29.n. */
const SUBJECT_ALTERNATIVE_NAME = '551d11';
const BASIC_CONSTRAINTS = '551d13';
const KEY_USAGE = '551d0f';
const EXTENDED_KEY_USAGE = '551d25';

/**
 * Reads the extensions from the DER of a certificate that OpenSSL has already parsed. Node offers the names only as
 * one joined text, where a crafted name has posed as another before (CVE-2021-44532), and the key usage not at
 * all; a general X.509 library would add 20 MB to every sidecar for these four fields.
 *
 * @throws RangeError when an element does not have the expected tag or leaves its parent, or an extension is repeated
 */
export function readExtensions(der: Buffer): CertificateExtensions {
  const byId = extensionsById(der);
  const names = byId.get(SUBJECT_ALTERNATIVE_NAME);
  const usage = byId.get(KEY_USAGE);
  const purposes = byId.get(EXTENDED_KEY_USAGE);
  return {
    uris: names === undefined ? [] : uriNames(der, names),
    ca: isAuthority(der, byId.get(BASIC_CONSTRAINTS)),
    keyUsage: usage === undefined ? null : keyUsageBits(der, usage),
    purposes: purposes === undefined ? null : objectIdentifiers(der, purposes),
  };
}

/** Extension values (the content of each OCTET STRING) by identifier. */
function extensionsById(der: Buffer): Map<string, Element> {
  const [tbs] = children(der, expectTag(elementAt(der, 0, der.length), SEQUENCE));
  const wrapper = children(der, expectTag(tbs, SEQUENCE)).find(({ tag }) => tag === EXTENSIONS);
  const byId = new Map<string, Element>();
  if (wrapper === undefined) {
    return byId;
  }
  for (const extension of children(der, onlyChild(der, wrapper, SEQUENCE))) {
    const parts = children(der, expectTag(extension, SEQUENCE));
    const id = text(der, expectTag(parts[0], OBJECT_IDENTIFIER), 'hex');
    if (byId.has(id)) {
      throw new RangeError('an extension is repeated');
    }
    byId.set(id, expectTag(parts.at(-1), OCTET_STRING));
  }
  return byId;
}

function uriNames(der: Buffer, value: Element): string[] {
  return children(der, onlyChild(der, value, SEQUENCE))
    .filter(({ tag }) => tag === URI_NAME)
    .map((name) => text(der, name, 'latin1'));
}

function isAuthority(der: Buffer, value: Element | undefined): boolean {
  if (value === undefined) {
    return false;
  }
  const [ca] = children(der, onlyChild(der, value, SEQUENCE));
  // DEFAULT FALSE: an absent or other first element is the path length.
  return ca !== undefined && ca.tag === BOOLEAN && der[ca.start] !== 0;
}

function keyUsageBits(der: Buffer, value: Element): number {
  const bits = onlyChild(der, value, BIT_STRING);
  let usage = 0;
  // The first byte counts unused bits; bit 0 is the highest of the second.
  for (let index = bits.start + 1; index < Math.min(bits.end, bits.start + 3); index += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      if (((der[index] ?? 0) & (0x80 >> bit)) !== 0) {
        usage |= 1 << ((index - bits.start - 1) * 8 + bit);
      }
    }
  }
  return usage;
}

function objectIdentifiers(der: Buffer, value: Element): string[] {
  return children(der, onlyChild(der, value, SEQUENCE)).map((id) =>
    text(der, expectTag(id, OBJECT_IDENTIFIER), 'hex'),
  );
}

/** X.690 §8.1: tag of one byte, definite length of at most four. */
function elementAt(der: Buffer, at: number, limit: number): Element {
  const tag = der[at];
  const first = der[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) {
    throw new RangeError('an element is cut short or has a long tag');
  }
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const bytes = first & 0x7f;
    if (bytes === 0 || bytes > 4 || start + bytes > limit) {
      throw new RangeError('an element has an indefinite or oversized length');
    }
    length = der.readUIntBE(start, bytes);
    start += bytes;
  }
  if (start + length > limit) {
    throw new RangeError('an element leaves its parent');
  }
  return { tag, start, end: start + length };
}

function children(der: Buffer, parent: Element): Element[] {
  const found: Element[] = [];
  for (let at = parent.start; at < parent.end; ) {
    const child = elementAt(der, at, parent.end);
    found.push(child);
    at = child.end;
  }
  return found;
}

function onlyChild(der: Buffer, parent: Element, tag: number): Element {
  const child = expectTag(elementAt(der, parent.start, parent.end), tag);
  if (child.end !== parent.end) {
    throw new RangeError('an element is followed by others');
  }
  return child;
}

function expectTag(element: Element | undefined, tag: number): Element {
  if (element?.tag !== tag) {
    throw new RangeError(`an element has the tag ${element?.tag}, expected ${tag}`);
  }
  return element;
}

function text(der: Buffer, element: Element, encoding: 'hex' | 'latin1'): string {
  return der.toString(encoding, element.start, element.end);
}
