// Package conformance holds the emulators to the documents of CLB and SCF: one named
// case for each documented fact, checked only through tencentcloud-sdk-go, over the
// wire and through the virtual addresses.
//
// By default each case has an emulator of its own. With the variables below it runs
// unchanged against the cloud, where it creates only what it tags as its own, and
// deletes that:
//
//	CONFORMANCE_SECRET_ID, CONFORMANCE_SECRET_KEY  the key that signs; CONFORMANCE_TOKEN with a temporary one
//	CONFORMANCE_REGION, CONFORMANCE_VPC            where; CONFORMANCE_SUBNET for internal load balancers
//	CONFORMANCE_TARGETS                            ip:port, comma separated: backends of that VPC that answer HTTP
//	CONFORMANCE_FUNCTION, CONFORMANCE_FUNCTION_URL for the sections about SCF: a function made of localdev/scf/testdata/function
//	                                               (runtime Go1, 128 MB, timeout 2 s, with a role) and its URL, without authentication
//
// A case that needs what isn't named is skipped and says so. Nothing else of the
// environment is looked at.
//
// What sources dispute is a fact with several answers, one for each profile of the
// emulator (clb.Profiles). The emulator must give the answer of the profile that it
// runs under; the cloud any of them, and the report says which.
package conformance
