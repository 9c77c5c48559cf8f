package main

// enumListing is the order in which the service's messages list an enum, where
// one was published. Values that are younger than the publication follow in the
// model's order.
var enumListing = map[string][]string{
	"KeySpec": {
		"RSA_2048", "ECC_NIST_P384", "ECC_NIST_P256", "ECC_NIST_P521", "HMAC_384", "RSA_3072",
		"ECC_SECG_P256K1", "RSA_4096", "SYMMETRIC_DEFAULT", "HMAC_256", "HMAC_224", "HMAC_512",
	},
}

// listedEnum names members whose messages list another enum than the one that
// the model gives them: "Structure.Member" → shape. The service was seen to
// answer a bad GenerateDataKey KeySpec so.
var listedEnum = map[string]string{
	"GenerateDataKeyRequest.KeySpec": "KeySpec",
}

// elementOrder is the order of a result's XML elements, where the service's is
// not the model's.
var elementOrder = map[string][]string{
	"AssumeRoleResponse":        {"AssumedRoleUser", "Credentials"},
	"GetCallerIdentityResponse": {"Arn", "UserId", "Account"},
}

// hidden names the shapes whose values stay out of messages although the model
// does not call them sensitive: messages reach the audit log, and a grant token
// must not (AWS: "Using a grant token").
var hidden = map[string]bool{"GrantTokenType": true}

// sensitive names the shapes that hold secrets although the model does not call
// them sensitive: a session token is half of a credential.
var sensitive = map[string]bool{"tokenType": true}
