//! A network of one's own: loopback, and an interface that everything foreign leaves by and nothing comes back from.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::time::Duration;

/// Set where the namespaces are made already.
const INSIDE: &str = "PROBELET_TEST_ISOLATED";
/// The own addresses, of the interface that leads out.
pub(crate) const POD_IPS: [&str; 2] = ["10.99.0.2", "fd99::2"];
/// Nobody answers there, resolvers included.
pub(crate) const RESOLVER: &str = "10.99.0.53";
/// Where clouds tell whoever asks the machine's credentials.
pub(crate) const METADATA: &str = "169.254.169.254";

/// The far end throws everything away. Without neighbours to ask for, routers to look for and groups to join, the kernel sends
/// nothing of its own.
const SET_UP: &str = "
    ip link set lo up
    ip link add out type veth peer name far
    for link in out far; do
        for setting in addr_gen_mode=1 accept_ra=0 router_solicitations=0 accept_dad=0; do
            echo ${setting#*=} > /proc/sys/net/ipv6/conf/$link/${setting%=*}
        done
    done
    echo 1 > /proc/sys/net/ipv6/conf/far/disable_ipv6
    ip link set far arp off up
    ip link set out arp off up
    ip address add 10.99.0.2/24 dev out
    ip address add fd99::2/64 dev out nodad
    ip route add default via 10.99.0.1 dev out
    ip route add default via fd99::1 dev out
    mount -t tmpfs tmpfs /dev/shm
    echo 'hosts: files dns' > /dev/shm/nsswitch.conf
    echo nameserver $RESOLVER > /dev/shm/resolv.conf
    printf '127.0.0.1 localhost\\n' > /dev/shm/hosts
    echo 20000 23999 > /proc/sys/net/ipv4/ip_local_port_range
    for file in nsswitch.conf resolv.conf hosts; do mount --bind /dev/shm/$file /etc/$file; done
";

/// The kernel drops what this port sends to whoever connected to it before: no answer comes, no acknowledgement, no end. What
/// connects from now on has other ports, and is good. As local addresses are looked up first of all, their rule makes room.
const VANISH: &str = "
    ip rule add pref 100 lookup local
    ip rule add pref 1 ipproto tcp sport $PORT dport 20000-23999 blackhole
    ip rule del pref 0
    echo 24000 27999 > /proc/sys/net/ipv4/ip_local_port_range
";

/// The inside of the namespaces.
pub(crate) struct Net(());

/// Runs `test`, the test of that name in this program, with nothing around it. Variables for proxies are set, as a Pod's
/// environment may have them.
pub(crate) fn alone(name: &str, test: impl FnOnce(&Net)) {
    if std::env::var_os(INSIDE).is_some() {
        return test(&Net::raise());
    }
    if !rustix::process::geteuid().is_root() {
        // Past the harness, which keeps what a passed test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name} needs root, for a network of its own");
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "--"]).arg(program);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    for variable in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(variable, format!("http://{METADATA}:3128"));
    }
    let output = command.output().expect("unshare");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success() && told.contains("1 passed"), "in a network of its own:\n{told}");
    print!("{told}");
}

/// What a test runs on; its servers end with it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime")
}

impl Net {
    fn raise() -> Self {
        shell(SET_UP, ("RESOLVER", RESOLVER));
        Self(())
    }

    /// From now on whoever has a connection to this port hears nothing of it any more; new connections are good. Once a test.
    pub(crate) fn vanish(&self, port: u16) {
        shell(VANISH, ("PORT", &port.to_string()));
    }

    /// Puts names into the hosts file, beside `localhost`.
    pub(crate) fn names(&self, lines: &str) {
        // In place: the file is mounted.
        std::fs::write("/etc/hosts", format!("127.0.0.1 localhost\n{lines}\n")).expect("hosts");
    }

    /// Lets resolvers give up after a second rather than ten.
    pub(crate) fn ask_once(&self) {
        let text = format!("nameserver {RESOLVER}\noptions timeout:1 attempts:1\n");
        std::fs::write("/etc/resolv.conf", text).expect("resolv.conf");
    }

    /// Packets that left so far, or tried to.
    pub(crate) fn left(&self) -> u64 {
        let table = std::fs::read_to_string("/proc/self/net/dev").expect("interfaces");
        let line = table.lines().find_map(|line| line.trim().strip_prefix("out:")).expect("interface");
        let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().expect("number")).collect();
        // Eight of what came; then bytes, packets, errors, drops.
        numbers[9..12].iter().sum()
    }

    /// Packets that leave while an ordinary client connects to this host: it resolves the name, and takes every spelling of an
    /// address that the C library knows.
    pub(crate) fn left_by_client(&self, host: &str) -> u64 {
        let before = self.left();
        let found: Vec<SocketAddr> = (host, 80).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
        for address in found {
            let _ = TcpStream::connect_timeout(&address, Duration::from_millis(5));
        }
        self.left() - before
    }
}

fn shell(script: &str, (variable, value): (&str, &str)) {
    let output = Command::new("sh").args(["-euc", script]).env(variable, value).output().expect("sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
