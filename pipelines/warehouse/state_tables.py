"""The tables of `state.sqlite`."""

from sqlalchemy import BigInteger, Column, Date, DateTime, Double, Index, Integer, MetaData, String, Table

STATE = MetaData()

load = Table(
    "load",
    STATE,
    Column("load_id", String, primary_key=True),
    Column("started_at", DateTime),
    Column("finished_at", DateTime),
    Column(
        "status",
        String,
        comment="landing, landed, logged, published; failed when it was put aside, withdrawn when it was taken back",
    ),
    Column("source", String, comment="Source as the registry or the mapping names it"),
    Column("namespace", String, comment="Prefix of the source's ids"),
    Column("version", String, comment="Parser version, and hash of the mapping"),
    Column("mapping", String, comment="Landed copy of the mapping, if any"),
    Column("asked", String, comment="While landing: files and source asked for, as JSON"),
    Column("build_id", String, comment="First build that holds the load"),
    Column("exported_at", DateTime, comment="Latest time of its exports (UTC): what is said later wins"),
    Column("restored_at", DateTime, comment="When what it withdrew was brought back; empty: it stays withdrawn"),
    Column("problem", String, comment="Why it was put aside"),
    Column("again_at", DateTime, comment="From when its rows of the future can be judged again; empty: it has none"),
    Column("raw_gone_at", DateTime, comment="When its raw files were deleted for their age; empty: they are there"),
    comment="One load: the files of one source given at once.",
)
load_file = Table(
    "load_file",
    STATE,
    Column("load_id", String),
    Column("name", String),
    Column("raw", String, comment="Untouched copy, relative to the raw folder"),
    Column("sha256", String),
    Column("bytes", BigInteger),
    Column("exported_at", DateTime, comment="Time of the export (UTC)"),
    Column("dated_by", String, comment="What says so: declared, or file (its date)"),
    Column("lines", String, comment="Its lines by what they are, as JSON: lines + more_rows = the others"),
    Column("given_sha256", String, comment="Of the file as it was given, where the copy was made anonymous since"),
    comment="One landed file.",
)
log_file = Table(
    "log_file",
    STATE,
    Column("load_id", String),
    Column("path", String, comment="Relative to the log folder"),
    Column("sha256", String),
    Column("bytes", BigInteger),
    Column("modified_ns", BigInteger, comment="When it was last seen with this checksum"),
    comment="One log file that a load wrote.",
)
forgotten = Table(
    "forgotten",
    STATE,
    Column("person", String, primary_key=True, comment="Keyed hash of the id"),
    Column("namespace", String, primary_key=True, comment="Source whose id it is; empty: of any"),
    Column("opaque", String, comment="What stands in place of the id"),
    Column("is_address", Integer, comment="1: the id is an e-mail address"),
    Column("begun_at", DateTime),
    Column("done_at", DateTime, comment="When nothing was found any more; empty: not yet"),
    comment="One customer who is forgotten, in later files too.",
)
remembered = Table(
    "remembered",
    STATE,
    Column("name", String, primary_key=True),
    Column("value", String),
    comment=(
        "What is known of the warehouse as a whole: key_fingerprint, rules_build and told_build, the builds alert rules"
        " were last looked at in and told of; anew_bytes, the size of the last build that was no copy;"
        " forgotten_secret, what those forgotten are hashed with."
    ),
)
load_count = Table(
    "load_count",
    STATE,
    Column("load_id", String),
    Column("source", String),
    Column("thing", String),
    Column("is_derived", Integer),
    Column("read", BigInteger),
    Column("accepted", BigInteger),
    Column("duplicate", BigInteger),
    Column("quarantined", BigInteger),
    Column("replaced", BigInteger, comment="Accepted rows that say otherwise than an earlier load did"),
    Column("unread_fields", BigInteger, comment="Accepted rows with a field that could not be read"),
    Column("withdrawn", BigInteger, comment="Rows of earlier loads that this one took back"),
    Column("hidden_texts", BigInteger, comment="Texts of rows kept as a keyed hash: fewer than five lines share them"),
    comment="One load x log: read = accepted + duplicate + quarantined.",
)
quarantine = Table(
    "quarantine",
    STATE,
    Column("load_id", String),
    Column("source", String),
    Column("thing", String),
    Column("file", String),
    Column("line", BigInteger),
    Column("rules", String, comment="Every rule the row breaks"),
    Column("value", String, comment="The first offending value, unless personal"),
    Column("is_field", Integer, comment="1: the row was accepted and the field taken for missing"),
    comment="One quarantined row, or one field that could not be read; the row itself stays in its landed file.",
)
check_result = Table(
    "check_result",
    STATE,
    Column("build_id", String),
    Column("name", String),
    Column("is_blocking", Integer),
    Column("rows", BigInteger),
    Column("sample", String),
    Column("sentence", String),
    Column("checked_at", DateTime),
    comment="One check of one build; rows = 0 is a pass.",
)
build = Table(
    "build",
    STATE,
    Column("build_id", String, primary_key=True),
    Column("created_at", DateTime),
    Column("kind", String, comment="full or increment"),
    Column("table", String, primary_key=True),
    Column("rows", BigInteger),
    Column("change", BigInteger, comment="Rows more than in the build before"),
    comment="One table of one build.",
)
action = Table(
    "action",
    STATE,
    Column("action_id", Integer, primary_key=True),
    Column("created_at", DateTime),
    Column("updated_at", DateTime),
    Column("kind", String, comment="What was done: one of ACTION_KINDS"),
    Column("scope", String, comment="What it was done to, as JSON: dimension to values; more dimensions narrow it"),
    Column("effective_on", Date, comment="First day it was in force; empty until done"),
    Column("owner", String),
    Column("due_on", Date),
    Column("expected_money", Double, comment="Expected a year, reporting currency"),
    Column("expected_kg_co2e", Double, comment="Expected less a year (kg)"),
    Column("status", String, comment="open, done or withdrawn"),
    Column("note", String, comment="Words of whoever logged it"),
    comment="One action taken on returns. Never deleted: withdrawn.",
)

alert_rule = Table(
    "alert_rule",
    STATE,
    Column("rule_id", Integer, primary_key=True),
    Column("created_at", DateTime),
    Column("withdrawn_at", DateTime, comment="Empty while it is evaluated"),
    Column("metric", String, comment="Key, with its parameter"),
    Column("test", String, comment="One of ALERT_TESTS"),
    Column("bound", Double, comment="Of above and below, in the metric's unit"),
    Column("by", String, comment="Dimensions it is evaluated for one by one, as JSON"),
    Column("where", String, comment="Filters, as JSON"),
    Column("days", Integer, comment="Latest days looked at; 0: all, as for a stock"),
    Column("to", String, comment="Who is told, as JSON: mailto:, http: or https: addresses"),
    comment="One rule: a metric and what is worth an alert. Never deleted: withdrawn.",
)
alert = Table(
    "alert",
    STATE,
    Column("alert_id", Integer, primary_key=True),
    Column("rule_id", Integer),
    Column("cell", String, comment="Values of the rule's dimensions, as JSON"),
    Column("since_at", DateTime, comment="Observation time it was first seen at (UTC)"),
    Column("since_build", String),
    Column("seen_at", DateTime, comment="Observation time it was last seen at (UTC)"),
    Column("seen_build", String),
    Column("cleared_at", DateTime, comment="Observation time it was gone at (UTC); empty while it lasts"),
    Column("value", Double),
    Column("low", Double),
    Column("high", Double),
    Column("previous", Double, comment="What it is compared with"),
    Column("unit", String),
    Column("since", Date),
    Column("until", Date),
    Column("caution", String, comment="What the numbers do not rest on, in words; empty where nothing weakens them"),
    Column("told", String, comment="Addresses that have been told, as JSON; the others are tried again"),
    comment="One alert: a cell of a rule for as long as it lasts; told once.",
)
Index("alert_lasting", alert.c.rule_id, alert.c.cell, unique=True, sqlite_where=alert.c.cleared_at.is_(None))

policy_draft = Table(
    "policy_draft",
    STATE,
    Column("draft_id", Integer, primary_key=True),
    Column("created_at", DateTime),
    Column("updated_at", DateTime),
    Column("text", String, comment="The policy as YAML, right or not"),
    Column("status", String, comment="draft, published or withdrawn"),
    Column("build_id", String, comment="Build it was published in"),
    comment="One policy somebody is writing. Never deleted: withdrawn or published.",
)

scenario = Table(
    "scenario",
    STATE,
    Column("name", String, primary_key=True),
    Column("created_at", DateTime),
    Column("updated_at", DateTime),
    Column("text", String, comment="The scenario as JSON"),
    comment="One saved scenario. Saved again, it replaces itself.",
)
closed_month = Table(
    "closed_month",
    STATE,
    Column("month", String, primary_key=True, comment="Year and month of the request"),
    Column("number", Integer, primary_key=True, comment="From 1; the last counts"),
    Column("approver", String),
    Column("closed_at", DateTime),
    Column("build_id", String),
    Column("factor_set", String, comment="Set that came first"),
    Column("sha256", String, comment="Of closed/<month>-<number>.parquet"),
    Column("kg_co2e", Double),
    Column("note", String, comment="Why it was closed anew"),
    Column("link", Integer, comment="Place in the chain of closings, from 1; empty: signed before there was one"),
    Column("previous", String, comment="SHA-256 of the record before it in the chain"),
    Column("record", String, comment="SHA-256 of its own record (outputs/signing)"),
    comment="One closing of a month. Never changed or deleted.",
)

target = Table(
    "target",
    STATE,
    Column("target_id", Integer, primary_key=True),
    Column("created_at", DateTime),
    Column("withdrawn_at", DateTime, comment="Empty while it stands"),
    Column("metric", String, comment="Key, with its parameter where that is not the default"),
    Column("value", Double, comment="In the metric's unit; a share is 0 to 1"),
    Column("where", String, comment="Filters of the cell it is of, as JSON; {}: the whole shop"),
    Column("since", Date, comment="First day it holds; it ends where the next of its cell begins"),
    Column("until", Date, comment="Last day it holds; empty: until another takes over"),
    Column("note", String, comment="Words of whoever set it"),
    comment="One version of a target: metric x cell from a day on. Never changed or deleted: withdrawn.",
)
annotation = Table(
    "annotation",
    STATE,
    Column("annotation_id", Integer, primary_key=True),
    Column("created_at", DateTime),
    Column("withdrawn_at", DateTime, comment="Empty while it is shown"),
    Column("text", String, comment="Words of whoever wrote it"),
    Column("kind", String, comment="One of ANNOTATION_KINDS"),
    Column("begins_on", Date),
    Column("where", String, comment="What it is about, as JSON: dimension to values; {}: the whole shop"),
    comment="One note on a day, drawn on charts over time. Never deleted: withdrawn.",
)
saved_view = Table(
    "saved_view",
    STATE,
    Column("view_id", Integer, primary_key=True),
    Column("created_at", DateTime),
    Column("updated_at", DateTime),
    Column("withdrawn_at", DateTime, comment="Empty while it is listed"),
    Column("reader", String, comment="Whose it is, by the name of the sign-in; empty without sign-in"),
    Column("name", String),
    Column("page", String, comment="Address of the page"),
    Column("codes", String, comment="What stands in the address, as JSON: name to codes"),
    comment="One address of a page kept by name. Never deleted: withdrawn.",
)
