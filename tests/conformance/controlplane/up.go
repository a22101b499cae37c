package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// up runs the control plane until the command has ended, or without a command until it is told to stop. It returns the
// exit code.
func up(dir string, port int, command []string) int {
	runtime.LockOSThread() // Pdeathsig watches the thread that started a child, not the process
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	if dir == "" {
		temporary, err := os.MkdirTemp("", "controlplane-")
		if err != nil {
			log.Print(err)
			return 1
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	}
	plane := &controlPlane{dir: dir, ended: make(chan error, 3)}
	defer plane.stop()
	defer stop() // before the API server goes, so that the kubelet does not complain
	err := plane.start(ctx, port)
	switch {
	case err != nil:
		log.Print(err)
		return 1
	case len(command) > 0:
		return plane.run(ctx, command)
	}
	fmt.Println("ready")
	select {
	case <-ctx.Done():
		return 0
	case err := <-plane.ended:
		log.Print(err)
		return 1
	}
}

type controlPlane struct {
	dir      string
	children []*exec.Cmd
	ended    chan error // by itself, which no child should
}

func (plane *controlPlane) start(ctx context.Context, port int) error {
	ports, err := choose(port)
	if err != nil {
		return err
	}
	token, err := plane.writeFiles(ports[0])
	if err != nil {
		return err
	}
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1]), fmt.Sprintf("http://127.0.0.1:%d", ports[2])
	starting, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for _, step := range []func() error{
		func() error { return plane.child(etcdFlags(plane.at("etcd"), client, peer)) },
		func() error { return plane.child(apiserverFlags(plane.at, client, ports[0])) },
		func() error { return plane.waitReady(starting, ports[0], token) },
		func() error { return plane.child(controllerManagerFlags(plane.at, ports[3])) },
		func() error { return runKubelet(ctx, plane.at("kubelet.conf")) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (plane *controlPlane) at(name string) string { return filepath.Join(plane.dir, name) }

// child starts this binary again as something else; it dies with its parent.
func (plane *controlPlane) child(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := os.Create(plane.at(args[0] + ".log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(self, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	plane.children = append(plane.children, cmd)
	go func() { plane.ended <- fmt.Errorf("%s ended: %v; see %s", args[0], cmd.Wait(), out.Name()) }()
	return nil
}

// run has the command in a process group of its own: what a terminal sends to ours reaches it once, through us.
func (plane *controlPlane) run(ctx context.Context, command []string) int {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"CONFORMANCE_KUBECONFIG="+plane.at("kubeconfig"), "CONFORMANCE_AUDIT_LOG="+plane.at("audit.log"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	err := cmd.Run()
	select {
	case ended := <-plane.ended: // what the command says of it is of no use
		log.Print(ended)
		return 1
	default:
	}
	if exited := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exited) {
		log.Print(err)
	}
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0 {
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

func (plane *controlPlane) stop() {
	for i := len(plane.children) - 1; i >= 0; i-- {
		_ = plane.children[i].Process.Kill()
	}
	for range plane.children {
		<-plane.ended // their files can go now
	}
}

// choose returns four ports: from the first on, or any that are free.
func choose(first int) (ports [4]int, err error) {
	for i := range ports {
		if ports[i] = first + i; first != 0 {
			continue
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports, err
		}
		defer listener.Close() // all at the end, for four different ones
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
