package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/clb-direct/clb-direct/shared/config"
)

// given is what the named files say.
type given struct {
	env    map[string]string
	config config.Config
	// secretID and secretKey sign calls of the account's APIs, "" for none.
	secretID, secretKey string
}

// Ids as the cloud gives them (CLB API, VpcId and SubnetId).
var (
	vpcID    = regexp.MustCompile(`^vpc-[a-z0-9]+$`)
	subnetID = regexp.MustCompile(`^subnet-[a-z0-9]+$`)
)

// inputs reads the files and checks what can be checked without asking anybody. Every
// field at fault is named.
func inputs(o options) (given, error) {
	var in given
	var err error
	if in.env, err = variables(o.env); err != nil {
		return in, err
	}
	var errs []error
	if in.config, err = config.Load(func(name string) string { return in.env[name] }); err != nil {
		errs = append(errs, err)
	}
	for _, f := range []struct {
		name string
		form *regexp.Regexp
		like string
	}{
		{"VPC_ID", vpcID, "vpc-abcd1234"}, {"SUBNET_ID", subnetID, "subnet-abcd1234"},
		{"FUNCTION_ROLE_NAME", regexp.MustCompile(`^[A-Za-z0-9_=,.@-]+$`), "clb-direct"}, {"STAGE", regexp.MustCompile(`^[a-z0-9-]+$`), "prod"},
	} {
		if !f.form.MatchString(in.env[f.name]) {
			errs = append(errs, fmt.Errorf("%s: is %q, must be like %s", f.name, in.env[f.name], f.like))
		}
	}
	if o.credentials != "" {
		key, err := variables(o.credentials)
		if err != nil {
			errs = append(errs, err)
		}
		in.secretID, in.secretKey = key["TENCENTCLOUD_SECRETID"], key["TENCENTCLOUD_SECRETKEY"]
		if err == nil && (in.secretID == "" || in.secretKey == "") {
			errs = append(errs, fmt.Errorf("%s: TENCENTCLOUD_SECRETID and TENCENTCLOUD_SECRETKEY must both be there", o.credentials))
		}
	}
	return in, errors.Join(errs...)
}

// variables reads NAME=value lines.
func variables(path string) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	out := map[string]string{}
	in := bufio.NewScanner(bytes.NewReader(raw))
	in.Buffer(nil, 1<<20)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !found {
			return nil, fmt.Errorf("reading %s: line %d is not NAME=value", path, n)
		}
		value = strings.TrimSpace(value)
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		out[strings.TrimSpace(name)] = value
	}
	return out, in.Err()
}
