package sts

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Provider is an identity provider of the account (OIDC): a cluster whose tokens are
// believed.
type Provider struct {
	// Issuer is what its tokens are issued by, ClientIDs whom they may be meant for.
	Issuer    string
	ClientIDs []string
	// Review tells whose a token is, if it is good for one of some audiences.
	Review func(ctx context.Context, token string, audiences []string) (user string, err error)
}

// ReviewBy has a cluster look at its own tokens. STS itself has the cluster's public
// keys, and doesn't notice that a pod is gone.
func ReviewBy(cluster kubernetes.Interface) func(context.Context, string, []string) (string, error) {
	return func(ctx context.Context, token string, audiences []string) (string, error) {
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}
		got, err := cluster.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return "", fmt.Errorf("looking at it: %w", err)
		}
		if !got.Status.Authenticated {
			return "", errors.New("its signature or its time is not good")
		}
		return got.Status.User.Username, nil
	}
}

// check gives what a token says, by the names that conditions of trust policies have,
// if the cluster has issued it for one of the client IDs and it hasn't ended.
func (p Provider) check(ctx context.Context, token string) (map[string][]string, error) {
	said, err := read(token)
	if err != nil {
		return nil, err
	}
	if said.Issuer != p.Issuer {
		return nil, fmt.Errorf("it is issued by %q, not by %q", said.Issuer, p.Issuer)
	}
	if !slices.ContainsFunc(said.Audience, func(a string) bool { return slices.Contains(p.ClientIDs, a) }) {
		return nil, fmt.Errorf("it is meant for %q, not for one of %q", said.Audience, p.ClientIDs)
	}
	user, err := p.Review(ctx, token, p.ClientIDs)
	if err != nil {
		return nil, err
	}
	if user != said.Subject {
		return nil, fmt.Errorf("it is %s's, and says %s", user, said.Subject)
	}
	return map[string][]string{"oidc:iss": {said.Issuer}, "oidc:aud": said.Audience, "oidc:sub": {said.Subject}}, nil
}

// claims are what a token says of itself.
type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience []string `json:"aud"`
}

// read reads the middle of a JWT, believing nothing.
func read(token string) (claims, error) {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("it is no JSON web token")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return c, fmt.Errorf("it is no JSON web token: %w", err)
	}
	return c, nil
}
