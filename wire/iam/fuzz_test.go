package iam_test

import (
	"errors"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/iam"
)

// FuzzDecode feeds one form to every request type. What a type accepts must decode to
// the same value again after it was encoded by encode, which shares nothing with the
// decoder.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		"", "UserName=a", "UserName=", "UserName=%FF", "Action=GetUser&Version=2010-05-08", "UserName=a&UserName=b",
		"RoleName=r&AssumeRolePolicyDocument=%7B%7D&MaxSessionDuration=3600&Tags.member.1.Key=k&Tags.member.1.Value=",
		"PolicyArn=aaaaaaaaaaaaaaaaaaaa&VersionId=v1&PolicyDocument=%7B%7D&SetAsDefault=true&TagKeys.member.1=k",
		"GroupName=g&PolicyName=p&Path=%2F&MaxItems=7&Marker=m&Scope=All&Status=Active&AccessKeyId=AKIAIOSFODNN7EXAMPLE",
		"Tags=&TagKeys=", "Tags.member.1=", "TagKeys.member.9=x", "Path=%2Fa%2F&Description=%0A&PermissionsBoundary=aaaaaaaaaaaaaaaaaaaa",
		"EntityFilter=Role&PathPrefix=%2F&PolicyUsageFilter=PermissionsPolicy&AssignmentStatus=Any&AllUsers=false&OnlyAttached=true",
	} {
		f.Add([]byte(body))
	}
	operations := iam.Operations()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, op := range operations {
			in := op.New()
			if err := in.Decode(body); err != nil {
				checkRefusal(t, op, in, err)
				continue
			}
			form := url.Values{}
			encode(form, "", reflect.ValueOf(in).Elem())
			encoded := form.Encode()
			again := op.New()
			if err := again.Decode([]byte(encoded)); err != nil {
				t.Fatalf("%s: decoding %s again: %v", op.Name, encoded, err)
			}
			if diff := cmp.Diff(in, again); diff != "" {
				t.Errorf("%s: -first +second\n%s", op.Name, diff)
			}
			if strings.Contains(encoded, url.QueryEscape(wire.Absent)) {
				t.Errorf("%s: an absent member was left in %s", op.Name, encoded)
			}
		}
	})
}

func checkRefusal(t *testing.T, op wire.Operation, in wire.Request, err error) {
	t.Helper()
	var s *wire.SerializationError
	var c *wire.ConstraintError
	if !errors.As(err, &s) && !errors.As(err, &c) {
		t.Errorf("%s: got a %T, want one of the two", op.Name, err)
	}
	if !reflect.ValueOf(in).Elem().IsZero() {
		t.Errorf("%s: the request is not empty after %v", op.Name, err)
	}
}

// mayBeEmpty names the required strings that may be "", which enums may not.
var mayBeEmpty = map[string]bool{"Description": true, "Value": true}

// encode writes v below name as parameters, by reflection.
func encode(form url.Values, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		encode(form, name, v.Elem())
	case reflect.String:
		form.Set(name, v.String())
	case reflect.Int:
		form.Set(name, strconv.FormatInt(v.Int(), 10))
	case reflect.Bool:
		form.Set(name, strconv.FormatBool(v.Bool()))
	case reflect.Slice:
		if v.Len() == 0 {
			form.Set(name, "")
		}
		for i := range v.Len() {
			encode(form, name+".member."+strconv.Itoa(i+1), v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field, member := v.Field(i), v.Type().Field(i).Name
			if field.IsZero() && !(field.Kind() == reflect.String && mayBeEmpty[member]) {
				continue
			}
			if name != "" {
				member = name + "." + member
			}
			encode(form, member, field)
		}
	default:
		panic("a field of kind " + v.Kind().String())
	}
}
