/* A library to preload into one process, which can do to the files below one directory what happens to real ones:
 *
 *   FSYNC_SHADOW_ROOT         the directory, an absolute path without symbolic links. Other files are left alone.
 *   FSYNC_SHADOW_JOURNAL      write down there every change and every sync, so that disk.py can tell what a disk would
 *                             hold after a power cut.
 *   FSYNC_SHADOW_COUNTS       write down there, at the end of the process, how many changes and barriers there were.
 *   FSYNC_SHADOW_STOP_EVENT   kill the process right before its n-th change or sync.
 *   FSYNC_SHADOW_STOP_BARRIER the same, counting only what orders the others: syncs, and changes of names.
 *   FSYNC_SHADOW_ROOM         the disk is full after so many bytes: what makes a file longer fails with ENOSPC.
 *   FSYNC_SHADOW_FULL         a pattern (fnmatch) of the paths that this concerns; all of them without it.
 *
 * Journal: per event a packed struct `entry`, then `size` bytes: the data of a write, the path of the others, old and
 * new path of a rename with a NUL between them. An event is written down after it happened and before the process goes
 * on, so that nothing the process knows of is missing.
 *
 * Calls that this library does not know would be missing: test_shadow.py replays the journal of a whole run and
 * compares the result with the files.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096, JOURNAL_DESCRIPTOR = 1000 };
enum { WATCHED = 1, FULL = 2 };
enum kind { OPEN = 'o', CLOSE = 'c', WRITE = 'w', TRUNCATE = 't', SYNC = 's', RENAME = 'r', UNLINK = 'u', MKDIR = 'm' };

struct entry {
    uint8_t kind;
    int32_t descriptor;
    int64_t number; /* of open: the flags; of write: the offset; of truncate: the length */
    uint64_t size;
} __attribute__((packed));

static char root[PATH_MAX];
static const char *full_pattern;
static int journal = -1, counts = -1;
static long events, barriers, stop_event, stop_barrier;
static long long room = -1;
static unsigned char state[DESCRIPTORS];
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) \
    static __typeof__(name) *real; \
    if (real == NULL) \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static void fail(const char *what)
{
    dprintf(STDERR_FILENO, "fsync_shadow: %s: %s\n", what, strerror(errno));
    abort();
}

static int kept_open(const char *variable)
{
    const char *path = getenv(variable);
    if (path == NULL)
        return -1;
    __typeof__(open) *real_open = (__typeof__(open) *)dlsym(RTLD_NEXT, "open");
    __typeof__(close) *real_close = (__typeof__(close) *)dlsym(RTLD_NEXT, "close");
    int low = real_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int high = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, JOURNAL_DESCRIPTOR);
    if (high < 0)
        fail(path);
    real_close(low);
    return high;
}

static long long number_of(const char *variable, long long otherwise)
{
    const char *text = getenv(variable);
    return text == NULL ? otherwise : atoll(text);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FSYNC_SHADOW_ROOT");
    if (path == NULL)
        return;
    snprintf(root, sizeof root, "%s", path);
    full_pattern = getenv("FSYNC_SHADOW_FULL");
    journal = kept_open("FSYNC_SHADOW_JOURNAL");
    counts = kept_open("FSYNC_SHADOW_COUNTS");
    stop_event = number_of("FSYNC_SHADOW_STOP_EVENT", 0);
    stop_barrier = number_of("FSYNC_SHADOW_STOP_BARRIER", 0);
    room = number_of("FSYNC_SHADOW_ROOM", -1);
    unsetenv("LD_PRELOAD"); /* the events of a child would be counted as if they were the process's own */
}

__attribute__((destructor)) static void end(void)
{
    if (counts >= 0)
        dprintf(counts, "%ld %ld\n", events, barriers);
}

static int is_below_root(const char *path)
{
    size_t length = strlen(root);
    return length > 0 && strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* The path made absolute, in `out`; whether it is below the root. */
static int watched_path(int directory, const char *path, char *out)
{
    char base[PATH_MAX] = "";
    if (path[0] != '/') {
        if (directory == AT_FDCWD) {
            if (getcwd(base, sizeof base) == NULL)
                return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0)
                return 0;
            base[length] = '\0';
        }
        if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
            return 0;
    } else if (snprintf(out, PATH_MAX, "%s", path) >= PATH_MAX) {
        return 0;
    }
    return is_below_root(out);
}

static int is_watched(int descriptor)
{
    return descriptor >= 0 && descriptor < DESCRIPTORS && (state[descriptor] & WATCHED);
}

/* Take the turn of a change; the process ends here if this is where it is to be killed. */
static void enter(int is_barrier)
{
    pthread_mutex_lock(&turn);
    events++;
    barriers += is_barrier;
    if (events == stop_event || (is_barrier && barriers == stop_barrier)) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
}

static void leave(void)
{
    int kept = errno;
    pthread_mutex_unlock(&turn);
    errno = kept;
}

static void note(enum kind kind, int descriptor, int64_t number, const void *content, size_t size)
{
    if (journal < 0)
        return;
    REAL(writev);
    int kept = errno;
    struct entry entry = {.kind = kind, .descriptor = descriptor, .number = number, .size = size};
    struct iovec parts[] = {{&entry, sizeof entry}, {(void *)content, size}};
    if (real(journal, parts, 2) != (ssize_t)(sizeof entry + size))
        fail("journal");
    errno = kept;
}

/* -- opening and closing ------------------------------------------------------------------------------------------ */

static int opened(int descriptor, const char *path, int flags)
{
    if (descriptor >= DESCRIPTORS)
        fail("too many open files");
    if (descriptor >= 0) {
        int is_full = full_pattern == NULL || fnmatch(full_pattern, path, 0) == 0;
        state[descriptor] = WATCHED | (is_full ? FULL : 0);
        note(OPEN, descriptor, flags, path, strlen(path));
    }
    return descriptor;
}

static int open_watched(int directory, const char *path, int flags, mode_t mode)
{
    REAL(openat);
    char absolute[PATH_MAX];
    if (!watched_path(directory, path, absolute)) {
        int descriptor = real(directory, path, flags, mode);
        if (descriptor >= 0 && descriptor < DESCRIPTORS)
            state[descriptor] = 0;
        return descriptor;
    }
    int changes = flags & (O_CREAT | O_TRUNC);
    if (changes)
        enter(1);
    else
        pthread_mutex_lock(&turn);
    int descriptor = opened(real(directory, path, flags, mode), absolute, flags);
    leave();
    return descriptor;
}

#define OPENING(name, before, directory) \
    int name(before const char *path, int flags, ...) \
    { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return open_watched(directory, path, flags, mode); \
    }
#define FROM_DIRECTORY int directory,

OPENING(open, , AT_FDCWD)
OPENING(open64, , AT_FDCWD)
OPENING(openat, FROM_DIRECTORY, directory)
OPENING(openat64, FROM_DIRECTORY, directory)

int close(int descriptor)
{
    REAL(close);
    if (!is_watched(descriptor))
        return real(descriptor);
    pthread_mutex_lock(&turn);
    state[descriptor] = 0;
    note(CLOSE, descriptor, 0, NULL, 0);
    int result = real(descriptor);
    leave();
    return result;
}

/* -- content ------------------------------------------------------------------------------------------------------ */

static off_t place_of_next_write(int descriptor)
{
    struct stat found;
    if (fcntl(descriptor, F_GETFL) & O_APPEND)
        return fstat(descriptor, &found) == 0 ? found.st_size : 0;
    return lseek(descriptor, 0, SEEK_CUR);
}

/* How many bytes of a write still fit on the disk. A full disk takes the first part of a write, then none. */
static size_t that_fit(int descriptor, off_t offset, size_t count, long long *growth)
{
    struct stat found;
    *growth = 0;
    if (room < 0 || !(state[descriptor] & FULL) || fstat(descriptor, &found) != 0)
        return count;
    *growth = offset + (off_t)count - found.st_size;
    if (*growth < 0)
        *growth = 0;
    if (*growth <= room)
        return count;
    size_t beyond = (size_t)(*growth - room);
    *growth = room;
    return beyond < count ? count - beyond : 0;
}

static ssize_t write_watched(int descriptor, const void *content, size_t count, off_t offset, int at_offset)
{
    __typeof__(write) *real_write = (__typeof__(write) *)dlsym(RTLD_NEXT, "write");
    __typeof__(pwrite64) *real_pwrite = (__typeof__(pwrite64) *)dlsym(RTLD_NEXT, "pwrite64");
    if (!is_watched(descriptor))
        return at_offset ? real_pwrite(descriptor, content, count, offset) : real_write(descriptor, content, count);
    enter(0);
    long long growth;
    off_t start = at_offset ? offset : place_of_next_write(descriptor);
    size_t fitting = that_fit(descriptor, start, count, &growth);
    ssize_t result = -1;
    if (fitting == 0 && count > 0)
        errno = ENOSPC;
    else
        result = at_offset ? real_pwrite(descriptor, content, fitting, offset) : real_write(descriptor, content, fitting);
    if (result > 0) {
        if (room >= 0)
            room -= growth;
        note(WRITE, descriptor, start, content, (size_t)result);
    }
    leave();
    return result;
}

ssize_t write(int descriptor, const void *content, size_t count)
{
    return write_watched(descriptor, content, count, 0, 0);
}

ssize_t pwrite(int descriptor, const void *content, size_t count, off_t offset)
{
    return write_watched(descriptor, content, count, offset, 1);
}

ssize_t pwrite64(int descriptor, const void *content, size_t count, off64_t offset)
{
    return write_watched(descriptor, content, count, offset, 1);
}

ssize_t writev(int descriptor, const struct iovec *parts, int number)
{
    REAL(writev);
    if (!is_watched(descriptor))
        return real(descriptor, parts, number);
    ssize_t total = 0;
    for (int each = 0; each < number; each++) {
        ssize_t written = write_watched(descriptor, parts[each].iov_base, parts[each].iov_len, 0, 0);
        if (written < 0)
            return total > 0 ? total : -1;
        total += written;
        if ((size_t)written < parts[each].iov_len)
            break;
    }
    return total;
}

static int truncate_watched(int descriptor, off_t length)
{
    __typeof__(ftruncate64) *real = (__typeof__(ftruncate64) *)dlsym(RTLD_NEXT, "ftruncate64");
    if (!is_watched(descriptor))
        return real(descriptor, length);
    enter(0);
    int result = real(descriptor, length);
    if (result == 0)
        note(TRUNCATE, descriptor, length, NULL, 0);
    leave();
    return result;
}

int ftruncate(int descriptor, off_t length) { return truncate_watched(descriptor, length); }
int ftruncate64(int descriptor, off64_t length) { return truncate_watched(descriptor, length); }

/* -- syncs -------------------------------------------------------------------------------------------------------- */

#define SYNCING(name) \
    int name(int descriptor) \
    { \
        REAL(name); \
        if (!is_watched(descriptor)) \
            return real(descriptor); \
        enter(1); \
        int result = real(descriptor); \
        if (result == 0) \
            note(SYNC, descriptor, 0, NULL, 0); \
        leave(); \
        return result; \
    }

SYNCING(fsync)
SYNCING(fdatasync)

/* -- names -------------------------------------------------------------------------------------------------------- */

int renameat2(int old_directory, const char *old, int new_directory, const char *new, unsigned flags)
{
    REAL(renameat2);
    char paths[2 * PATH_MAX], target[PATH_MAX];
    int is_ours = watched_path(old_directory, old, paths);
    if (!(is_ours | watched_path(new_directory, new, target)))
        return real(old_directory, old, new_directory, new, flags);
    enter(1);
    int result = real(old_directory, old, new_directory, new, flags);
    size_t length = strlen(paths) + 1;
    strcpy(paths + length, target);
    if (result == 0)
        note(RENAME, -1, 0, paths, length + strlen(target));
    leave();
    return result;
}

int renameat(int old_directory, const char *old, int new_directory, const char *new)
{
    return renameat2(old_directory, old, new_directory, new, 0);
}

int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int directory, const char *path, int flags)
{
    REAL(unlinkat);
    char absolute[PATH_MAX];
    if (!watched_path(directory, path, absolute))
        return real(directory, path, flags);
    enter(1);
    int result = real(directory, path, flags);
    if (result == 0)
        note(UNLINK, -1, 0, absolute, strlen(absolute));
    leave();
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int directory, const char *path, mode_t mode)
{
    REAL(mkdirat);
    char absolute[PATH_MAX];
    if (!watched_path(directory, path, absolute))
        return real(directory, path, mode);
    enter(1);
    int result = real(directory, path, mode);
    if (result == 0)
        note(MKDIR, -1, 0, absolute, strlen(absolute));
    leave();
    return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
