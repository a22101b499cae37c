package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const kubeconfig = `apiVersion: v1
kind: Config
current-context: controlplane
contexts: [{name: controlplane, context: {cluster: controlplane, user: admin}}]
clusters: [{name: controlplane, cluster: {server: "https://127.0.0.1:%d", certificate-authority: %q}}]
users: [{name: admin, user: {token: %q}}]
`

// Every write that the API server answered, once, but for those of the control plane itself; and what the administrator read.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:apiserver", "controller-manager", "kubelet"]}
- {level: Metadata, users: [admin], verbs: [get, list, watch]}
- {level: None, verbs: [get, list, watch]}
- {level: Request}
`

func etcdFlags(dir, client, peer string) []string {
	return []string{"etcd", "--data-dir", dir, "--unsafe-no-fsync",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer}
}

func apiserverFlags(at func(string) string, etcd string, port int) []string {
	return []string{"apiserver", "--etcd-servers", etcd,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir", at("certs"),
		"--endpoint-reconciler-type=none", "--authorization-mode=RBAC", "--token-auth-file", at("tokens.csv"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file", at("sa.key"),
		"--service-account-signing-key-file", at("sa.key"), "--service-cluster-ip-range=10.0.0.0/16",
		"--audit-policy-file", at("audit.yaml"), "--audit-log-path", at("audit.log"),
		"--etcd-compaction-interval=5s", // not 5m: versions expire while a test waits
		"--disable-admission-plugins=ServiceAccount", "--profiling=false"}
}

func controllerManagerFlags(at func(string) string, port int) []string {
	return []string{"controller-manager", "--kubeconfig", at("controllers.conf"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir", at("certs-cm"),
		"--leader-elect=false", "--service-account-private-key-file", at("sa.key"),
		"--kube-api-qps=500", "--kube-api-burst=1000",
		"--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20", "--concurrent-namespace-syncs=2",
		"--controllers=deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller," +
			"serviceaccount-controller,namespace-controller,garbage-collector-controller,disruption-controller"}
}

// writeFiles returns the administrator's token.
func (plane *controlPlane) writeFiles(port int) (string, error) {
	if err := os.MkdirAll(plane.dir, 0o700); err != nil {
		return "", err
	}
	if err := os.RemoveAll(plane.at("etcd")); err != nil {
		return "", err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	files := map[string]string{"sa.key": string(pem.EncodeToMemory(block)), "audit.yaml": auditPolicy}
	var token string
	for user, file := range map[string]string{
		"kubelet": "kubelet.conf", "controller-manager": "controllers.conf", "admin": "kubeconfig",
	} {
		secret := rand.Text()
		files[file] = fmt.Sprintf(kubeconfig, port, plane.at("certs/apiserver.crt"), secret)
		files["tokens.csv"] += fmt.Sprintf("%s,%s,%s,system:masters\n", secret, user, user)
		if user == "admin" {
			token = secret
		}
	}
	for name, content := range files {
		if err := os.WriteFile(plane.at(name), []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	return token, nil
}

func (plane *controlPlane) waitReady(ctx context.Context, port int, token string) error {
	// The API server makes its certificate at start.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("https://127.0.0.1:%d/readyz", port), nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	for {
		if response, err := client.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-plane.ended:
			plane.ended <- err // stop waits for all
			return err
		case <-ctx.Done():
			return fmt.Errorf("the API server did not become ready; see %s", plane.at("apiserver.log"))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
