package feature

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	set, err := Parse("exec, update-pod,,")
	if err != nil || !set.Lacks(Exec) || !set.Lacks(UpdatePod) || set.Lacks(PostStart) || set.String() != "exec,update-pod" {
		t.Fatalf("got %v %v", set, err)
	}
	if _, err := Parse("exec,logs"); err == nil || !strings.Contains(err.Error(), `unknown feature "logs": want any of exec,`) {
		t.Fatalf("got %v", err)
	}
}
