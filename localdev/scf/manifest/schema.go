package manifest

import (
	"maps"
	"regexp"
)

// kind is what a value is.
type kind int

const (
	text kind = iota
	whole
	flag
	list
	mapping
	// scalar is anything that has a plain text form: a variable's value, an offset.
	scalar
	textOrMap
	listOrMap
	// What a value may turn out to be.
	fraction
	nothing
)

func (k kind) String() string {
	return [...]string{
		"a string", "a whole number", "true or false", "a list", "a map", "a string or number", "a string or a map", "a list or a map",
		"a fraction", "nothing",
	}[k]
}

// key is what is documented of one key. The zero value is an optional string.
type key struct {
	kind     kind
	required bool
	// why completes "missing" for a key that the component could do without.
	why string
	// enum lists the values there are; loose makes any other a warning, where the
	// public list is known to be behind.
	enum  []string
	loose bool
	// form is the pattern of a string, and says says it in words.
	form *regexp.Regexp
	says string
	// min and max bound a whole number, or the length of a string; max 0 is no bound.
	min, max int
	// keys are those of a map, of the entries of a list of maps, or of the map of a
	// textOrMap. A nil one is not looked into.
	keys map[string]key
	// trap is told of a key that is documented and must not be used, or has no effect;
	// it is about the value true only for a flag. mild makes it a warning.
	trap string
	mild bool
}

// Sources: the multi-scf component (document 1154/129052 and its public repository),
// the toolkit that it deploys with, SCF API CreateFunction and CreateTrigger, "Limits"
// (583/11637), "Environment variables", "Timer Trigger" (583/9708), "CKafka trigger",
// "Function URL" (583/96099).
var (
	componentForm   = regexp.MustCompile(`^multi-scf(@\d+\.\d+\.\d+)?$`)
	functionName    = regexp.MustCompile(`^[A-Za-z][\w-]{0,58}[A-Za-z0-9]$`)
	handlerForm     = regexp.MustCompile(`^[A-Za-z]([\w-]{0,58}[A-Za-z])$`)
	environmentName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{1,63}$`)
	timerName       = regexp.MustCompile(`^[A-Za-z][\w-]{0,59}$`)
	anything        = regexp.MustCompile(`.`)
	descriptionForm = regexp.MustCompile(`^[A-Za-z0-9 ,.\n\p{Han}]*$`)
	offsetForm      = regexp.MustCompile(`^(latest|earliest|\d+)$`)
)

const (
	functionNameSays = "want 2 to 60 letters, digits, - and _, beginning with a letter and not ending with - or _"
	withoutQualifier = "without it the next deployment doesn't find the trigger again"
)

var regions = []string{
	"ap-beijing", "ap-chengdu", "ap-chongqing", "ap-guangzhou", "ap-hongkong", "ap-mumbai", "ap-seoul", "ap-shanghai",
	"ap-shanghai-fsi", "ap-shenzhen-fsi", "ap-singapore", "ap-tokyo", "eu-frankfurt", "na-siliconvalley", "na-toronto",
}

var runtimes = []string{
	"Python2.7", "Python3.6", "Python3.7", "Nodejs6.10", "Nodejs8.9", "Nodejs10.15", "Nodejs12.16", "Nodejs14.18", "Nodejs16.13",
	"Php5", "Php7", "Php7.4", "Php8.0", "Go1", "Java8", "Java11", "CustomRuntime",
}

var topKeys = map[string]key{
	"component": {required: true, form: componentForm, says: "want multi-scf, the one that deploys several functions, with a version or without"},
	"name":      {required: true},
	"app":       {required: true},
	"stage":     {required: true},
	"org":       {},
	"inputs":    {kind: mapping, required: true},
}

var network = map[string]key{"vpcId": {required: true}, "subnetId": {required: true}}

var source = map[string]key{
	"src": {}, "exclude": {kind: list}, "include": {kind: list}, "hook": {}, "dist": {}, "bucket": {}, "object": {},
}

// functionKeys mean something for one function; all of them may also stand once in
// inputs, for all functions.
var functionKeys = map[string]key{
	"name":        {form: functionName, says: functionNameSays},
	"namespace":   {},
	"role":        {form: anything, says: "want the name of an execution role"},
	"src":         {kind: textOrMap, keys: source},
	"type":        {enum: []string{"event", "web"}},
	"handler":     {form: handlerForm, says: "want 2 to 60 letters, digits, - and _, beginning and ending with a letter"},
	"runtime":     {enum: runtimes},
	"region":      {enum: regions, loose: true},
	"description": {max: 1000, form: descriptionForm, says: "want letters, digits, spaces, commas, full stops and line breaks only"},
	"memorySize":  {kind: whole},
	"timeout":     {kind: whole, min: 1, max: maxTimeout},
	"initTimeout": {kind: whole, min: minInitTimeout},
	"environments": {kind: list, keys: map[string]key{
		"key": {required: true}, "value": {kind: scalar},
	}},
	"environment":       {kind: mapping, trap: "the component drops it without a word, use environments"},
	"publicAccess":      {kind: flag},
	"installDependency": {kind: flag},
	"vpc":               {kind: mapping, keys: network},
	"vpcConfig":         {kind: mapping, keys: network},
	"cfs":               {kind: list},
	"deadLetter":        {kind: mapping, keys: map[string]key{"type": {}, "name": {}, "filterType": {}}},
	"layers":            {kind: list, keys: map[string]key{"name": {required: true}, "version": {kind: whole, required: true}}},
	"cls":               {kind: mapping, keys: map[string]key{"logsetId": {required: true}, "topicId": {required: true}}},
	"eip":               {kind: flag},
	"asyncRunEnable":    {kind: flag, trap: "it can be set at creation only, takes the answer from synchronous callers, and ends retries"},
	"traceEnable":       {kind: flag},
	"msgTTL":            {kind: whole, trap: "has no effect without asyncRunEnable; set the event's age with UpdateFunctionEventInvokeConfig", mild: true},
	"retryNum":          {kind: whole, trap: "has no effect without asyncRunEnable; set retries with UpdateFunctionEventInvokeConfig", mild: true},
	"tags":              {kind: listOrMap},
	"image":             {kind: mapping},
}

var commonKeys = with(functionKeys, map[string]key{
	"functions":          {kind: mapping, required: true},
	"triggers":           {kind: list},
	"isAutoPublish":      {kind: flag},
	"publishDescription": {},
})

var triggerKeys = map[string]key{
	"type":       {required: true},
	"function":   {required: true},
	"parameters": {kind: mapping, required: true},
}

// retired is what became of a trigger that the schema still lists.
const retired = "API Gateway is offline since 2025-06-30, use http"

// triggerParameters are the parameters by the trigger's type.
var triggerParameters = map[string]map[string]key{
	"http": {
		"name":      {},
		"qualifier": {required: true, why: withoutQualifier},
		"authType":  {enum: []string{"NONE", "CAM"}},
		"enable":    {kind: flag},
		"netConfig": {kind: mapping, required: true, why: "both ways in are off by default", keys: map[string]key{
			"enableIntranet": {kind: flag}, "enableExtranet": {kind: flag},
		}},
		"corsConfig": {kind: mapping, keys: map[string]key{
			"enable": {kind: flag}, "origins": {kind: list}, "methods": {kind: list}, "headers": {kind: list},
			"exposeHeaders": {kind: list}, "credentials": {kind: flag}, "maxAge": {kind: whole},
		}},
	},
	"timer": {
		"name":           {required: true, form: timerName, says: "want up to 60 letters, digits, - and _, beginning with a letter"},
		"qualifier":      {required: true, why: withoutQualifier},
		"cronExpression": {required: true},
		"enable":         {kind: flag, required: true, why: "a timer that isn't enabled in so many words may stay off"},
		"argument":       {max: 4 << 10},
	},
	"ckafka": {
		"name":              {required: true},
		"topic":             {required: true},
		"qualifier":         {required: true, why: withoutQualifier},
		"maxMsgNum":         {kind: whole, min: 1, max: 1000},
		"offset":            {kind: scalar, form: offsetForm, says: "want latest, earliest or a time"},
		"retry":             {kind: whole, max: 10000},
		"timeout":           {kind: whole, min: 1, max: 60},
		"consumerGroupName": {},
		"enable":            {kind: flag},
	},
	"cos": {
		"bucket": {required: true}, "filter": {kind: mapping, keys: map[string]key{"prefix": {}, "suffix": {}}},
		"events": {required: true}, "enable": {kind: flag},
	},
	"cmq": {"name": {required: true}, "filterType": {kind: whole}, "filterKey": {kind: list}, "enable": {kind: flag}},
	"cls": {"topicId": {required: true}, "maxWait": {kind: whole}, "qualifier": {}, "enable": {kind: flag}},
	"mps": {"type": {required: true}, "qualifier": {}, "enable": {kind: flag}},
	// Looked at no further: see retired.
	"apigw": nil,
}

func with(base, more map[string]key) map[string]key {
	all := maps.Clone(base)
	maps.Copy(all, more)
	return all
}
