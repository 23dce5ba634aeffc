#!/bin/sh
# A CA of the trust domain example.org and a certificate each for greeter, alice and bob, in /tmp/greeter, good for a day.
# For a try-out alone: a mesh in earnest gets them from SPIRE or cert-manager and renews them.
set -eu
umask 077
mkdir -p /tmp/greeter
cd /tmp/greeter

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout ca.key -out ca.pem -subj /O=example.org \
  -addext subjectAltName=URI:spiffe://example.org -addext keyUsage=critical,keyCertSign,cRLSign

for name in greeter alice bob; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$name.key" -out "$name.csr" -subj /O=example.org
  cat >"$name.ext" <<EXT
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = URI:spiffe://example.org/sa/$name, DNS:localhost
EXT
  openssl x509 -req -days 1 -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -extfile "$name.ext" -out "$name.pem"
  rm "$name.csr" "$name.ext"
done
