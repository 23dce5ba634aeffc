package dev.gatehouse;

import io.grpc.ChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.nio.file.Files;
import java.util.List;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;
import javax.net.ssl.X509TrustManager;

/** Credentials of a workload with a SPIFFE ID. */
public final class Mtls {
  private static final int SAN_URI = 6;

  private Mtls() {}

  /**
   * Shows the identity of these PEM files (the key as PKCS #8) and takes a server that shows this SPIFFE ID, verified by
   * the bundle. The bundle is read at every handshake; certificate and key once: make the channel anew after a rotation.
   */
  public static ChannelCredentials of(File certificate, File key, File bundle, String serverId) throws IOException {
    return TlsChannelCredentials.newBuilder()
        .keyManager(certificate, key)
        .trustManager(new SpiffeTrust(bundle, serverId))
        .build();
  }

  /** Go by the chain and the SPIFFE ID (X509-SVID §4.1, §5): a workload has no host name. */
  private static final class SpiffeTrust extends X509ExtendedTrustManager {
    private final File bundle;
    private final String serverId;

    SpiffeTrust(File bundle, String serverId) {
      this.bundle = bundle;
      this.serverId = serverId;
    }

    private void check(X509Certificate[] chain, String authType) throws CertificateException {
      anchors().checkServerTrusted(chain, authType);
      List<String> ids = chain[0].getSubjectAlternativeNames() == null
          ? List.of()
          : chain[0].getSubjectAlternativeNames().stream()
              .filter(name -> (Integer) name.get(0) == SAN_URI)
              .map(name -> (String) name.get(1))
              .toList();
      if (!ids.equals(List.of(serverId)))
        throw new CertificateException("the server is " + ids + ", expected " + serverId);
    }

    private X509TrustManager anchors() throws CertificateException {
      try (var in = Files.newInputStream(bundle.toPath())) {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        int count = 0;
        for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(in))
          store.setCertificateEntry("anchor-" + count++, certificate);
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        factory.init(store);
        return (X509TrustManager) factory.getTrustManagers()[0];
      } catch (IOException | GeneralSecurityException e) {
        throw new CertificateException(bundle + ": cannot be read", e);
      }
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
        throws CertificateException {
      check(chain, authType);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String authType, Socket socket)
        throws CertificateException {
      check(chain, authType);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String authType) throws CertificateException {
      check(chain, authType);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
        throws CertificateException {
      throw new CertificateException("for clients alone");
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String authType, Socket socket)
        throws CertificateException {
      throw new CertificateException("for clients alone");
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String authType) throws CertificateException {
      throw new CertificateException("for clients alone");
    }

    @Override
    public X509Certificate[] getAcceptedIssuers() {
      return new X509Certificate[0];
    }
  }
}
