// Command controlplane is a real Kubernetes control plane on loopback, in one binary, for tests: etcd, kube-apiserver and
// kube-controller-manager as they are released, and a kubelet that runs no containers (kubelet.go).
//
//	controlplane up [--dir DIR] [--port N]
//	controlplane run [--dir DIR] [--port N] -- COMMAND...
//
// `up` prints "ready" when everything answers, and stops at SIGTERM or SIGINT. `run` runs the command on the control
// plane, passes both signals on to it, and ends as it did. DIR/kubeconfig leads to the API server, DIR/audit.log has
// every write that it answered; to the command they are CONFORMANCE_KUBECONFIG and CONFORMANCE_AUDIT_LOG. Without --dir
// it is a temporary directory, without --port the ports are any free ones.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"

	etcd "go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("controlplane: ")
	verb := ""
	if len(os.Args) > 1 {
		verb = os.Args[1]
		os.Args = append(os.Args[:1:1], os.Args[2:]...)
	}
	switch verb {
	case "up", "run":
		dir := flag.String("dir", "", "where state, logs and the kubeconfig are; a temporary directory if not told")
		port := flag.Int("port", 0, "of the API server; the next three are used too. Any free ones if 0")
		flag.Parse()
		if (verb == "run") != (flag.NArg() > 0) {
			usage()
		}
		os.Exit(up(*dir, *port, flag.Args()))
	case "etcd":
		etcd.Main(os.Args)
	case "apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "controller-manager":
		os.Exit(cli.Run(controllermanager.NewControllerManagerCommand()))
	default:
		usage()
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: controlplane up [--dir DIR] [--port N]\n"+
		"       controlplane run [--dir DIR] [--port N] -- COMMAND...\n"+
		"       controlplane etcd|apiserver|controller-manager [flags]")
	os.Exit(2)
}
