# shellcheck shell=sh
# Process 1 of a VM's own namespaces: makes its root file system, then becomes its init.
# usage: sh boot.sh FOLDER BASE NAME <files.tar >ready 2>log
#   FOLDER  holds upper, work and root; also names the mount, by which the VM is found again
#   BASE    the Debian root that it shares with others
# Says "ready" on standard output when nothing but starting init is left.
set -eu
folder=$1 base=$2 name=$3

# With index=on the kernel refuses a second mount of the same upper: never two VMs on one root. That of a VM which
# has just been ended may take a moment to go.
attempt=0
until mount -t overlay "$folder" -o "index=on,lowerdir=$base,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"; do
  attempt=$((attempt + 1))
  [ "$attempt" -lt 20 ] || exit 1
  sleep 0.1
done
cd "$folder/root"

mkdir -p dev proc sys run tmp mnt
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o nosuid,mode=755,size=1m tmpfs dev
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs run
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs tmp
mkdir dev/pts dev/shm run/lock
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs dev/shm
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
ln -s pts/ptmx dev/ptmx
ln -s null dev/console
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
# Kernel settings are the machine's, save those of the VM's own network.
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
if [ -e proc/sysrq-trigger ]; then
  mount --bind dev/null proc/sysrq-trigger
fi

hostname "$name"
pivot_root . mnt
umount -l /mnt
# Only now, so that a symbolic link inside can't lead outside.
tar -xpf - -C /

exec </dev/null
echo ready
exec >&2
# Not a security boundary: it keeps a mistake inside from reaching the machine's kernel or clock.
exec env -i TERM=linux PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  setpriv --bounding-set=-sys_module,-sys_rawio,-sys_time /sbin/init
