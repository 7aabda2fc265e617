package clb

import (
	"crypto/tls"
	"crypto/x509"

	api "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/clb/v20180317"
	"github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common"

	"github.com/clb-direct/clb-direct/localdev/clb/backend"
)

// AddCertificate keeps a server certificate under the id by which listeners and rules
// name it (CertId): what uploading one to the SSL product does. An id that is used
// already has the new certificate from the next change of its listeners on. Expired ones
// can be added, and are refused where they are named.
func (s *Server) AddCertificate(id string, cert tls.Certificate) error {
	return s.backend.AddCertificate(id, cert)
}

// AddCA keeps CA certificates, in PEM, under the id by which mutual authentication names
// them (CertCaId).
func (s *Server) AddCA(id string, pem []byte) error { return s.backend.AddCA(id, pem) }

const (
	oneWay = "UNIDIRECTIONAL"
	mutual = "MUTUAL"
)

// certificate reads the two ways to name certificates, of which one may be used; nil is
// neither. Uploading them along with the call is not emulated.
func (s *Server) certificate(single *api.CertificateInput, multi *api.MultiCertInfo) (*backend.Certificate, error) {
	switch {
	case single != nil && multi != nil:
		return nil, failure("InvalidParameter", "Certificate and MultiCertInfo can't be given together.")
	case single != nil:
		return singleCertificate(single)
	case multi != nil:
		return s.multiCertificate(multi)
	}
	return nil, nil
}

func checkMode(mode, verify *string) error {
	return firstError(
		among("SSLMode", mode, oneWay, mutual),
		among("SSLVerifyClient", verify, "ON", "OPTIONAL"),
		unsupported(need{"SSLVerifyClient: OPTIONAL", value(mode) == mutual && value(verify) == "OPTIONAL"}),
	)
}

func singleCertificate(in *api.CertificateInput) (*backend.Certificate, error) {
	out := &backend.Certificate{IDs: []string{value(in.CertId)}, Mutual: value(in.SSLMode) == mutual}
	if out.Mutual {
		out.CA = value(in.CertCaId)
	}
	return out, firstError(
		checkMode(in.SSLMode, in.SSLVerifyClient),
		unsupported(id("CertContent", in.CertContent), id("CertCaContent", in.CertCaContent)),
		required(id("Certificate.CertId", in.CertId), need{"Certificate.CertCaId", !out.Mutual || out.CA != ""}),
	)
}

// multiCertificate tells servers' certificates from CAs by what is known of them. Their
// algorithms must differ, and mutual authentication needs one CA (CLB API,
// MultiCertInfo).
func (s *Server) multiCertificate(in *api.MultiCertInfo) (*backend.Certificate, error) {
	err := firstError(
		required(id("MultiCertInfo.SSLMode", in.SSLMode), list("MultiCertInfo.CertList", in.CertList)),
		checkMode(in.SSLMode, in.SSLVerifyClient),
	)
	if err != nil {
		return nil, err
	}
	out := &backend.Certificate{Mutual: *in.SSLMode == mutual}
	algorithms := map[x509.PublicKeyAlgorithm]bool{}
	for _, c := range in.CertList {
		err := firstError(
			required(need{"MultiCertInfo.CertList.CertId", c != nil && (value(c.CertId) != "" || value(c.CertContent) != "")}),
			unsupported(need{"CertContent", c != nil && value(c.CertContent) != ""}),
		)
		if err != nil {
			return nil, err
		}
		server, ca := s.backend.Certificate(*c.CertId)
		switch {
		case server == nil && ca:
			out.CA = *c.CertId
		case server != nil && algorithms[server.PublicKeyAlgorithm]:
			return nil, failure("InvalidParameterValue", "two certificates of MultiCertInfo have the algorithm %s.", server.PublicKeyAlgorithm)
		default:
			if server != nil {
				algorithms[server.PublicKeyAlgorithm] = true
			}
			out.IDs = append(out.IDs, *c.CertId)
		}
	}
	if !out.Mutual {
		out.CA = ""
	}
	return out, required(need{"MultiCertInfo.CertList: a server certificate", len(out.IDs) > 0},
		need{"MultiCertInfo.CertList: a CA certificate", !out.Mutual || out.CA != ""})
}

func describeCertificate(c backend.Certificate) *api.CertificateOutput {
	if len(c.IDs) == 0 {
		return nil
	}
	out := &api.CertificateOutput{SSLMode: common.StringPtr(oneWay), CertId: &c.IDs[0], ExtCertIds: common.StringPtrs(c.IDs[1:])}
	if c.Mutual {
		out.SSLMode, out.SSLVerifyClient, out.CertCaId = common.StringPtr(mutual), common.StringPtr("ON"), &c.CA
	}
	return out
}
