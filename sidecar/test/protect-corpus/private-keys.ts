import { ALPHABET, type Random } from './random.ts';

/** RFC 7468 §10 and §11, RFC 5915, PKCS #1, OpenSSH's and OpenPGP's armour (RFC 4880 §6.2). */
const LABELS = [
  'PRIVATE KEY',
  'ENCRYPTED PRIVATE KEY',
  'RSA PRIVATE KEY',
  'EC PRIVATE KEY',
  'DSA PRIVATE KEY',
  'OPENSSH PRIVATE KEY',
  'PGP PRIVATE KEY BLOCK',
];

export function privateKey(random: Random): string {
  const label = random.pick(LABELS);
  const lines: string[] = [`-----BEGIN ${label}-----`];
  if (label === 'PGP PRIVATE KEY BLOCK')
    lines.push(random.chance(0.5) ? 'Version: GnuPG v2' : 'Comment: test', '');
  if (label === 'RSA PRIVATE KEY' && random.chance(0.4)) {
    lines.push(
      'Proc-Type: 4,ENCRYPTED',
      `DEK-Info: AES-128-CBC,${random.string(32, '0123456789ABCDEF')}`,
      '',
    );
  }
  const width = label === 'OPENSSH PRIVATE KEY' ? 70 : 64;
  for (let line = random.integer(1, 30); line > 0; line--) lines.push(random.string(width, ALPHABET.base64));
  lines.push(`${random.string(random.integer(20, width - 3), ALPHABET.base64)}=`);
  if (label === 'PGP PRIVATE KEY BLOCK') lines.push(`=${random.string(4, ALPHABET.base64)}`);
  lines.push(`-----END ${label}-----`);
  return lines.join(random.pick(['\n', '\n', '\r\n', '\\n', '\n    ', ' ']));
}
