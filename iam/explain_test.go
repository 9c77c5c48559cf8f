package iam_test

import (
	"testing"

	"github.com/kmsd/kmsd/iam"
)

func TestStatementText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		document string
		index    int
		want     string
	}{
		{`{"Statement": {"Effect" : "Allow", "Action":"*","Resource":"*"} }`, 0, `{"Effect":"Allow","Action":"*","Resource":"*"}`},
		{`{"Statement":[ {"Effect":"Allow"}, {"Sid":"a b [<","Effect":"Deny"}],"Version":"2012-10-17"}`, 1, `{"Sid":"a b [<","Effect":"Deny"}`},
		{iam.DefaultKeyPolicy("111122223333"), 0, `{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`},
	} {
		if got := iam.StatementText(tt.document, tt.index); got != tt.want {
			t.Errorf("statement %d of %s: got %s, want %s", tt.index, tt.document, got, tt.want)
		}
	}
}
