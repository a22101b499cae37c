package main

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// Annotations on a pod's template say how the pod behaves. Durations are as Go writes them.
const (
	readyAfter = "sim/ready-after" // from creation to its outcome; 200ms unless told
	outcome    = "sim/outcome"     // "ready" (the default), "crash" (CrashLoopBackOff), "stuck" (ImagePullBackOff)
	goneAfter  = "sim/gone-after"  // from deletion to disappearance; 0 unless told
)

// kubelet sees all pods and moves their status, without nodes and without containers.
type kubelet struct{ client kubernetes.Interface }

// runKubelet returns when it sees all pods; it works until the context ends.
func runKubelet(ctx context.Context, kubeconfigPath string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfigPath)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 1000, 2000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	k := kubelet{client}
	_, err = factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(pod any) { k.added(pod.(*corev1.Pod)) },
		UpdateFunc: func(old, pod any) { k.updated(old.(*corev1.Pod), pod.(*corev1.Pod)) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return nil
}

func (k kubelet) added(pod *corev1.Pod) {
	if _, slow := pod.Annotations[goneAfter]; slow {
		go k.bind(pod)
	}
	time.AfterFunc(duration(pod, readyAfter, 200*time.Millisecond), func() { k.setStatus(pod) })
}

func (k kubelet) updated(old, pod *corev1.Pod) {
	if old.DeletionTimestamp == nil && pod.DeletionTimestamp != nil {
		time.AfterFunc(duration(pod, goneAfter, 0), func() { k.remove(pod) })
	}
}

// bind names a node: a pod without one is removed by the API server as soon as it is deleted.
func (k kubelet) bind(pod *corev1.Pod) {
	target := corev1.ObjectReference{Kind: "Node", Name: "nowhere"}
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID}, Target: target}
	persist(func(ctx context.Context) error {
		return k.client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{})
	})
}

func (k kubelet) setStatus(pod *corev1.Pod) {
	patch, _ := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": statusOf(pod)})
	persist(func(ctx context.Context) error {
		_, err := k.client.CoreV1().Pods(pod.Namespace).Patch(
			ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	})
}

func (k kubelet) remove(pod *corev1.Pod) {
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
	persist(func(ctx context.Context) error {
		return k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, now)
	})
}

// persist tries until it is done, or cannot be done: the pod is gone, another, or bound already.
func persist(attempt func(context.Context) error) {
	for {
		err := attempt(context.Background())
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func statusOf(pod *corev1.Pod) corev1.PodStatus {
	now := metav1.Now()
	ready, phase, waiting, restarts := corev1.ConditionTrue, corev1.PodRunning, "", int32(0)
	switch pod.Annotations[outcome] {
	case "crash":
		ready, waiting, restarts = corev1.ConditionFalse, "CrashLoopBackOff", 5
	case "stuck":
		ready, phase, waiting = corev1.ConditionFalse, corev1.PodPending, "ImagePullBackOff"
	}
	status := corev1.PodStatus{Phase: phase, StartTime: &now, Conditions: []corev1.PodCondition{
		{Type: corev1.PodReady, Status: ready, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: ready, LastTransitionTime: now},
	}}
	state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
	if waiting != "" {
		state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: waiting}}
	}
	for _, container := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: waiting == "", RestartCount: restarts, State: state})
	}
	return status
}

func duration(pod *corev1.Pod, annotation string, otherwise time.Duration) time.Duration {
	if parsed, err := time.ParseDuration(pod.Annotations[annotation]); err == nil {
		return parsed
	}
	return otherwise
}
