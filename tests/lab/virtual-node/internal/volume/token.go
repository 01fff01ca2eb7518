package volume

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// The longest that a token is kept, whatever its own life
// (kubernetes/kubernetes:pkg/kubelet/token/token_manager.go).
const maxTokenAge = 24 * time.Hour

// Tokens asks for tokens bound to one Pod and keeps them until they are due. It is safe for
// concurrent use.
type Tokens struct {
	client kubernetes.Interface
	mu     sync.Mutex
	held   map[tokenKey]heldToken
}

type tokenKey struct {
	audience string
	seconds  int64
}

type heldToken struct {
	token           string
	issued, expires time.Time
}

// NewTokens is empty.
func NewTokens(client kubernetes.Interface) *Tokens {
	return &Tokens{client: client, held: map[tokenKey]heldToken{}}
}

// Get answers the present token for the projection, asking for a fresh one when 80 % of its life
// is over. Where renewal fails and the old one still lives, the old one is answered.
func (t *Tokens) Get(ctx context.Context, pod *v1.Pod, source *v1.ServiceAccountTokenProjection) (string, error) {
	key := tokenKey{audience: source.Audience, seconds: 3600}
	if source.ExpirationSeconds != nil {
		key.seconds = *source.ExpirationSeconds
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	held, known := t.held[key]
	if known && !due(held, now) {
		return held.token, nil
	}
	fresh, err := t.request(ctx, pod, key)
	if err != nil {
		if known && now.Before(held.expires) {
			return held.token, nil
		}
		return "", fmt.Errorf("token of service account %q: %w", pod.Spec.ServiceAccountName, err)
	}
	t.held[key] = fresh
	return fresh.token, nil
}

func (t *Tokens) request(ctx context.Context, pod *v1.Pod, key tokenKey) (heldToken, error) {
	spec := authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &key.seconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
		},
	}
	if key.audience != "" {
		spec.Audiences = []string{key.audience}
	}
	issued := time.Now()
	answer, err := t.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx,
		pod.Spec.ServiceAccountName, &authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return heldToken{}, err
	}
	return heldToken{token: answer.Status.Token, issued: issued, expires: answer.Status.ExpirationTimestamp.Time}, nil
}

// due says that a token should be renewed: 80 % of its life is over, or a day.
func due(t heldToken, now time.Time) bool {
	life := t.expires.Sub(t.issued)
	return now.After(t.expires.Add(-life/5)) || now.After(t.issued.Add(maxTokenAge))
}
