package gatehouse

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
)

// Identity names PEM files. They are read at every handshake, so that new connections use what is in them.
type Identity struct {
	CertificateFile, KeyFile, BundleFile string
}

// MTLS shows the identity and takes a server that shows this SPIFFE ID, verified by the bundle.
func MTLS(identity Identity, serverID string) credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(identity.CertificateFile, identity.KeyFile)
			return &pair, err
		},
		// Go would look for a host name; a workload has a SPIFFE ID, and is verified below.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verify(state.PeerCertificates, identity.BundleFile, serverID)
		},
	})
}

// SPIFFE X509-SVID §4.1 and §5.
func verify(chain []*x509.Certificate, bundleFile, serverID string) error {
	bundle, err := os.ReadFile(bundleFile)
	if err != nil {
		return err
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return fmt.Errorf("%s: expected certificates", bundleFile)
	}
	if len(chain) == 0 {
		return errors.New("the server showed no certificate")
	}
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates}); err != nil {
		return err
	}
	if uris := chain[0].URIs; len(uris) != 1 || uris[0].String() != serverID {
		return fmt.Errorf("the server is %v, expected %s", uris, serverID)
	}
	return nil
}
