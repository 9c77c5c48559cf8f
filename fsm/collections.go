package fsm

// The tables, by their numbers in snapshots and preconditions. Numbers are
// append-only and never reused; 0 is none.
const (
	tableMeta            uint8 = 1
	tableConfig          uint8 = 2
	tableNodes           uint8 = 3
	tableKeyring         uint8 = 4
	tableAccounts        uint8 = 5
	tableAccessKeys      uint8 = 6
	tablePolicies        uint8 = 7
	tableKeys            uint8 = 8
	tableMaterials       uint8 = 9
	tableTags            uint8 = 10
	tableAliases         uint8 = 11
	tableOnce            uint8 = 12
	tableAudit           uint8 = 13
	tableRemoved         uint8 = 14
	tableJoinTokens      uint8 = 15
	tableAuthority       uint8 = 16
	tableGossipKeys      uint8 = 17
	tableUsage           uint8 = 18
	tableErasures        uint8 = 19
	tableIdentities      uint8 = 20
	tableManagedPolicies uint8 = 21
	tableCredentialUses  uint8 = 22
	tableGrants          uint8 = 23
	tableCount                 = 24
)

// A collection describes one table. Persist, Restore, Digest, the ordered
// indexes and the tests all work from this one list.
type collection struct {
	name string
	// blank returns an empty record to decode into.
	blank func() record
	// places returns where the ordered indexes hold a record; nil for a table
	// that is never listed.
	places func(record) []place
}

// collections is indexed by table number. It is set in init because its hooks
// lead back to it.
var collections [tableCount]collection

func init() {
	collections = [tableCount]collection{
		tableMeta:            {"meta", blank[Cluster], nil},
		tableConfig:          {"config", blank[Config], nil},
		tableNodes:           {"nodes", blank[NodeRecord], nodePlaces},
		tableKeyring:         {"keyring", blank[KeyringTerm], keyringPlaces},
		tableAccounts:        {"accounts", blank[Account], accountPlaces},
		tableAccessKeys:      {"accessKeys", blank[AccessKey], accessKeyPlaces},
		tablePolicies:        {"policies", blank[policy], nil},
		tableKeys:            {"keys", blank[Key], keyPlaces},
		tableMaterials:       {"materials", blank[Material], materialPlaces},
		tableTags:            {"tags", blank[tagSet], nil},
		tableAliases:         {"aliases", blank[Alias], aliasPlaces},
		tableOnce:            {"once", blank[Once], oncePlaces},
		tableAudit:           {"pendingAudit", blank[pendingAudit], auditPlaces},
		tableRemoved:         {"removed", blank[RemovedNode], nil},
		tableJoinTokens:      {"joinTokens", blank[JoinToken], tokenPlaces},
		tableAuthority:       {"ca", blank[Authority], nil},
		tableGossipKeys:      {"gossipKeys", blank[GossipKeys], nil},
		tableUsage:           {"usage", blank[Usage], nil},
		tableErasures:        {"erasures", blank[Erasure], nil},
		tableIdentities:      {"identities", blank[Identity], identityPlaces},
		tableManagedPolicies: {"managedPolicies", blank[ManagedPolicy], managedPlaces},
		tableCredentialUses:  {"credentialUses", blank[CredentialUse], nil},
		tableGrants:          {"grants", blank[Grant], grantPlaces},
	}
}

func blank[R any, P interface {
	*R
	record
}]() record {
	return P(new(R))
}

func collectionOf(table uint8) (collection, bool) {
	if table == 0 || int(table) >= tableCount {
		return collection{}, false
	}
	return collections[table], true
}
