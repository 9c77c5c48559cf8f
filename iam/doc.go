// Package iam decides who may do what. A policy document is parsed strictly and
// compiled once; a decision then takes a caller with the policies that apply to it,
// an action on a resource, and the condition keys of the request, and says which
// statement decided (AWS IAM: "Policy evaluation logic"; AWS KMS: "Key policies").
//
// The package is pure: it reads no state and knows no clock. Whoever calls it takes
// policies, principals and condition keys from one view of the state.
//
// Users and roles are compared by their unique ids. A stored policy names them so;
// Rewrite puts ids in and out of its text.
//
// Policy text comes from authenticated callers. Parsing is bounded by the text's
// length, evaluation by the product of a pattern's length and the text's that it is
// matched with; nothing here recurses on input beyond a fixed depth, and nothing
// panics.
package iam
