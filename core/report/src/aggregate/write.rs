//! Writing the XML, in the order of RFC 9990 appendix A.

use super::{AggregateReport, Record};
use crate::xml::escape;

pub(super) fn write(report: &AggregateReport) -> String {
    let mut out = Out::default();
    out.text
        .push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.text
        .push_str("<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n");
    out.depth = 1;
    out.maybe("version", report.version.as_deref());
    let metadata = &report.metadata;
    out.inside("report_metadata", |out| {
        out.line("org_name", &metadata.org_name);
        out.line("email", &metadata.email);
        out.maybe("extra_contact_info", metadata.extra_contact_info.as_deref());
        out.line("report_id", &metadata.report_id);
        out.inside("date_range", |out| {
            out.line("begin", &metadata.begin.to_string());
            out.line("end", &metadata.end.to_string());
        });
        for error in &metadata.errors {
            out.line("error", error);
        }
        out.maybe("generator", metadata.generator.as_deref());
    });
    let policy = &report.policy;
    out.inside("policy_published", |out| {
        out.line("domain", &policy.domain);
        out.maybe("p", policy.p.as_ref().map(|word| word.as_str()));
        out.maybe("sp", policy.sp.as_ref().map(|word| word.as_str()));
        out.maybe("np", policy.np.as_ref().map(|word| word.as_str()));
        out.maybe("adkim", policy.adkim.as_ref().map(|word| word.as_str()));
        out.maybe("aspf", policy.aspf.as_ref().map(|word| word.as_str()));
        out.maybe("discovery_method", policy.discovery_method.as_deref());
        out.maybe("fo", policy.fo.as_deref());
        out.maybe("testing", policy.testing.as_deref());
        out.maybe("pct", policy.pct.as_deref());
    });
    for record in &report.records {
        out.inside("record", |out| write_record(record, out));
    }
    out.text.push_str("</feedback>\n");
    out.text
}

fn write_record(record: &Record, out: &mut Out) {
    out.inside("row", |out| {
        out.line("source_ip", &record.source_ip);
        out.line("count", &record.count.to_string());
        out.inside("policy_evaluated", |out| {
            out.maybe(
                "disposition",
                record.disposition.as_ref().map(|w| w.as_str()),
            );
            out.maybe("dkim", record.dkim.as_ref().map(|w| w.as_str()));
            out.maybe("spf", record.spf.as_ref().map(|w| w.as_str()));
            for reason in &record.reasons {
                out.inside("reason", |out| {
                    out.line("type", reason.kind.as_str());
                    out.maybe("comment", reason.comment.as_deref());
                });
            }
        });
    });
    out.inside("identifiers", |out| {
        out.line("header_from", &record.header_from);
        out.maybe("envelope_from", record.envelope_from.as_deref());
        out.maybe("envelope_to", record.envelope_to.as_deref());
    });
    out.inside("auth_results", |out| {
        for dkim in &record.dkim_results {
            out.inside("dkim", |out| {
                out.line("domain", &dkim.domain);
                out.maybe("selector", dkim.selector.as_deref());
                out.maybe("result", dkim.result.as_ref().map(|w| w.as_str()));
                out.maybe("human_result", dkim.human_result.as_deref());
            });
        }
        for spf in &record.spf_results {
            out.inside("spf", |out| {
                out.line("domain", &spf.domain);
                out.maybe("scope", spf.scope.as_deref());
                out.maybe("result", spf.result.as_ref().map(|w| w.as_str()));
                out.maybe("human_result", spf.human_result.as_deref());
            });
        }
    });
}

#[derive(Default)]
struct Out {
    text: String,
    depth: usize,
}

impl Out {
    fn indent(&mut self) {
        self.text.extend(std::iter::repeat_n("  ", self.depth));
    }

    fn inside(&mut self, name: &str, within: impl FnOnce(&mut Self)) {
        self.indent();
        self.text.push_str(&format!("<{name}>\n"));
        self.depth += 1;
        within(self);
        self.depth -= 1;
        self.indent();
        self.text.push_str(&format!("</{name}>\n"));
    }

    fn line(&mut self, name: &str, text: &str) {
        self.indent();
        self.text.push_str(&format!("<{name}>"));
        escape(text, &mut self.text);
        self.text.push_str(&format!("</{name}>\n"));
    }

    fn maybe(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.line(name, text);
        }
    }
}
