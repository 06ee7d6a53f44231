/* Makes one call on a regular file or directory fail, for tests of a failing disk.
 *
 * Preloaded into the program with REMELT_FAULT="KIND ERRNO NUMBER": call number NUMBER (from 1, counted over
 * all threads) of KIND fails with ERRNO and does nothing. KIND is write, sync, rename, create or read. When it
 * has happened, a byte is appended to the file that REMELT_FAULT_SEEN names: 'f'. A second sync of the same
 * file after one that failed appends 'r': nobody may believe it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char kind[16];
static int fault_errno;
static long fault_number;
static atomic_long calls;
static atomic_int failed_sync;
static dev_t failed_device;
static ino_t failed_inode;

__attribute__((constructor)) static void begin(void) {
    const char *fault = getenv("REMELT_FAULT");
    if (fault) sscanf(fault, "%15s %d %ld", kind, &fault_errno, &fault_number);
}

static void tell(char what) {
    const char *path = getenv("REMELT_FAULT_SEEN");
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    ssize_t (*real_write)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    int fd = real_open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (fd >= 0) {
        real_write(fd, &what, 1);
        close(fd);
    }
}

/* Whether this call is the one that fails. */
static int fails(const char *what) {
    if (strcmp(kind, what) != 0 || atomic_fetch_add(&calls, 1) + 1 != fault_number) return 0;
    tell('f');
    errno = fault_errno;
    return 1;
}

/* Pipes, terminals and sockets are no disk. */
static int is_on_disk(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 && (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode));
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    return is_on_disk(fd) && fails("write") ? -1 : real(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    return is_on_disk(fd) && fails("write") ? -1 : real(fd, parts, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    REAL(pwrite64);
    return is_on_disk(fd) && fails("write") ? -1 : real(fd, bytes, count, offset);
}

ssize_t read(int fd, void *bytes, size_t count) {
    REAL(read);
    return is_on_disk(fd) && fails("read") ? -1 : real(fd, bytes, count);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t offset) {
    REAL(pread64);
    return is_on_disk(fd) && fails("read") ? -1 : real(fd, bytes, count, offset);
}

static int sync_with(int (*real)(int), int fd) {
    struct stat found;
    int is_known = fstat(fd, &found) == 0;
    if (is_known && atomic_load(&failed_sync) && found.st_dev == failed_device &&
        found.st_ino == failed_inode)
        tell('r');
    if (fails("sync")) {
        if (is_known) {
            failed_device = found.st_dev;
            failed_inode = found.st_ino;
            atomic_store(&failed_sync, 1);
        }
        return -1;
    }
    return real(fd);
}

int fsync(int fd) {
    REAL(fsync);
    return sync_with(real, fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return sync_with(real, fd);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return fails("rename") ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return fails("create") ? -1 : real(path, mode);
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    mode_t mode = 0;
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
        if (fails("create")) return -1;
    }
    return real(path, flags, mode);
}
