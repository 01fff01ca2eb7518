package volume

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

func TestATokenIsDueAtFourFifthsOfItsLife(t *testing.T) {
	issued := time.Unix(0, 0)
	cases := []struct {
		life, age time.Duration
		want      bool
	}{
		{600 * time.Second, 479 * time.Second, false},
		{600 * time.Second, 481 * time.Second, true},
		{time.Hour, 47 * time.Minute, false},
		{time.Hour, 49 * time.Minute, true},
		{365 * 24 * time.Hour, 25 * time.Hour, true},
	}
	for _, c := range cases {
		held := heldToken{issued: issued, expires: issued.Add(c.life)}
		if got := due(held, issued.Add(c.age)); got != c.want {
			t.Errorf("life %v age %v: want %v, got %v", c.life, c.age, c.want, got)
		}
	}
}

func TestTokenOwnerNeedsAgreement(t *testing.T) {
	a, b := int64(1), int64(2)
	user := func(u *int64) v1.Container { return v1.Container{SecurityContext: &v1.SecurityContext{RunAsUser: u}} }
	cases := []struct {
		name       string
		pod        *int64
		containers []v1.Container
		want       *int64
	}{
		{"nobody says", nil, []v1.Container{{}}, nil},
		{"the Pod says", &a, []v1.Container{{}, {}}, &a},
		{"one overrides", &a, []v1.Container{{}, user(&b)}, nil},
		{"all override alike", &a, []v1.Container{user(&b), user(&b)}, &b},
		{"one is silent", nil, []v1.Container{user(&a), {}}, nil},
	}
	for _, c := range cases {
		pod := &v1.Pod{Spec: v1.PodSpec{Containers: c.containers, SecurityContext: &v1.PodSecurityContext{RunAsUser: c.pod}}}
		got := tokenOwner(pod)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: want %v, got %v", c.name, c.want, got)
		}
	}
}
