import { dirname, join, resolve } from "node:path";
import { readAtMost, UserError } from "@topicast/protocol";
import type { RuleSource } from "./modsecurity.js";
import type { ContentSettings } from "./settings.js";

/** Our own rules have numbers from here to 999099; CRS has 900000 to 998999. */
export const unreadableBody = 999000;

/**
 * Rules of CRS that take UTF-8 for something else. 941310 looks for US-ASCII with the eighth bit set, as one browser of 2006
 * read it, and so refuses an umlaut that is followed by a `>`. MQTT's text is UTF-8.
 */
const notForUtf8 = [941310];

/** Where Debian's modsecurity-crs puts the rules. */
const crsDirectory = "/usr/share/modsecurity-crs/rules";

const crsFiles = {
  lfi: "REQUEST-930-APPLICATION-ATTACK-LFI.conf",
  rfi: "REQUEST-931-APPLICATION-ATTACK-RFI.conf",
  rce: "REQUEST-932-APPLICATION-ATTACK-RCE.conf",
  php: "REQUEST-933-APPLICATION-ATTACK-PHP.conf",
  nodejs: "REQUEST-934-APPLICATION-ATTACK-NODEJS.conf",
  xss: "REQUEST-941-APPLICATION-ATTACK-XSS.conf",
  sqli: "REQUEST-942-APPLICATION-ATTACK-SQLI.conf",
  java: "REQUEST-944-APPLICATION-ATTACK-JAVA.conf",
} as const;

/** Families of CRS that judge content. Those about HTTP itself (920, 921 …) find nothing of MQTT right. */
export type RuleFamily = keyof typeof crsFiles;
export const ruleFamilies = Object.keys(crsFiles) as RuleFamily[];

/**
 * What the engine loads, in its order: our settings, CRS' initialisation, the families, the operator's files, CRS' sum.
 * The operator's files are read here, once, so that a worker that starts again has the rules of the others.
 *
 * @throws UserError for a file that cannot be read.
 */
export function ruleSources(settings: ContentSettings): RuleSource[] {
  const crs = (file: string): RuleSource => ({ name: join(crsDirectory, file) });
  return [
    { name: "topicast", text: prelude(settings) },
    crs("REQUEST-901-INITIALIZATION.conf"),
    ...settings.families.map((family) => crs(crsFiles[family])),
    ...settings.files.map(ownFile),
    crs("REQUEST-949-BLOCKING-EVALUATION.conf"),
  ];
}

/** Bytes of an own file, at most. */
const ownFileMax = 4 * 1024 * 1024;

function ownFile(file: string): RuleSource {
  const name = resolve(file);
  try {
    return { name, text: readAtMost(name, ownFileMax).toString(), directory: dirname(name) };
  } catch (error) {
    throw new UserError(`cannot read the rule file ${file}: ${(error as Error).message}`);
  }
}

function prelude(settings: ContentSettings): string {
  // Percent-encoding makes three bytes of one.
  const bodyMax = settings.maxBytes * 3 + 65536;
  return `
SecRuleEngine On
SecAuditEngine Off
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecRequestBodyLimit ${bodyMax}
SecRequestBodyNoFilesLimit ${bodyMax}
SecRequestBodyLimitAction Reject
SecRequestBodyJsonDepthLimit 64
SecArgumentsLimit 1000
SecDefaultAction "phase:1,log,auditlog,pass"
SecDefaultAction "phase:2,log,auditlog,pass"
SecAction "id:900990,phase:1,pass,t:none,nolog,setvar:tx.crs_setup_version=334"
SecAction "id:900000,phase:1,pass,t:none,nolog,setvar:tx.paranoia_level=${settings.paranoia}"
SecAction "id:900110,phase:1,pass,t:none,nolog,setvar:tx.inbound_anomaly_score_threshold=${settings.threshold}"
SecRule REQUEST_HEADERS:Content-Type "@streq application/json" "id:999001,phase:1,pass,t:none,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "@streq application/xml" "id:999002,phase:1,pass,t:none,nolog,ctl:requestBodyProcessor=XML"
SecRuleRemoveById ${notForUtf8.join(" ")}
SecRule REQBODY_ERROR "!@eq 0" "id:${unreadableBody},phase:2,pass,t:none,log,msg:'The payload is not what it looks like'"
`;
}
