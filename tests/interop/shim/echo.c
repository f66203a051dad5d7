/* Opens a TAP with the flags that are given, says what it is told of it, and sends each frame of type
   0x88b5 back. Built statically, it has no library that somebody could stand in for. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of linux/if_tun.h, whose struct ifreq is another. */
#define TUNSETIFF _IOW('T', 202, int)
#define TUNSETPERSIST _IOW('T', 203, int)
#define TUNSETOWNER _IOW('T', 204, int)
#define TUNGETFEATURES _IOR('T', 207, unsigned int)
#define TUNSETOFFLOAD _IOW('T', 208, unsigned int)
#define TUNGETIFF _IOR('T', 210, unsigned int)
#define TUNGETSNDBUF _IOR('T', 211, int)
#define TUNSETSNDBUF _IOW('T', 212, int)
#define TUNSETVNETHDRSZ _IOW('T', 216, int)
#define TUNSETVNETLE _IOW('T', 220, int)
#define TUNGETVNETLE _IOR('T', 221, int)
#define TUNGETVNETBE _IOR('T', 223, int)
#define IFF_NO_PI 0x1000
#define IFF_VNET_HDR 0x4000

static int ask(const char *what, int fd, unsigned long request, void *argument) {
    int result = ioctl(fd, request, argument);
    if (result < 0) printf("%s: %s\n", what, strerror(errno));
    return result;
}

/* How some programs tell that the interface is there: by the error of a write of nothing. */
static void write_nothing(int fd) {
    ssize_t result = write(fd, "", 0);
    printf("nothing: %s\n", result < 0 ? strerror(errno) : "taken");
}

/* What is asked of another descriptor, with these flags and by this name. */
static void ask_another(int flags, const char *name) {
    int fd = open("/dev/net/tun", O_RDWR);
    struct ifreq request = {.ifr_flags = (short)flags};
    memcpy(request.ifr_name, name, strlen(name) < IFNAMSIZ ? strlen(name) : IFNAMSIZ);
    if (ask("another", fd, TUNSETIFF, &request) == 0) printf("another is %.16s\n", request.ifr_name);
    close(fd);
}

/* What is asked and set on the device's own descriptor. */
static void ask_device(int fd, const char *name) {
    int number = 7;
    struct ifreq nameless = {0};
    ask("TUNGETVNETLE", fd, TUNGETVNETLE, &number);
    printf("little endian %d\n", number);
    ask("TUNGETVNETBE", fd, TUNGETVNETBE, &number);
    for (number = -5; number <= 1000; number += 1005) ask("TUNSETSNDBUF", fd, TUNSETSNDBUF, &number);
    ask("TUNGETSNDBUF", fd, TUNGETSNDBUF, &number);
    printf("send buffer %d\n", number);
    number = 0x7fffffff;
    ask("TUNSETSNDBUF", fd, TUNSETSNDBUF, &number);
    ask("TUNSETOFFLOAD", fd, TUNSETOFFLOAD, (void *)0x80);
    ask("SIOCGIFMTU on the device", fd, SIOCGIFMTU, &nameless);
    ask("SIOCGIFHWADDR on the device", fd, SIOCGIFHWADDR, &nameless);
    printf("its hardware %d\n", nameless.ifr_hwaddr.sa_family);
    nameless.ifr_flags = 2 | IFF_NO_PI;
    ask("again", fd, TUNSETIFF, &nameless);
    ask_another(2 | IFF_NO_PI, name);
    ask_another(2 | IFF_NO_PI, "lo");
    ask_another(2 | IFF_NO_PI, "sixteen-letters-");
    ask_another(2 | IFF_NO_PI | 0x20, "fragments");
    ask_another(1 | IFF_NO_PI | 0x30, "fragments");
    ask_another(IFF_NO_PI, "neither");
    ask_another(2 | IFF_NO_PI | 0x10, "polled");
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int flags = (int)strtol(words[1], NULL, 16), before = 0, size = 12;
    unsigned features = 0;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK), any = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) { perror("open"); return 1; }
    struct ifreq request = {.ifr_flags = (short)flags}, told = {0};
    write_nothing(fd);
    ask("SIOCGIFHWADDR before", fd, SIOCGIFHWADDR, &told);
    if (count > 2) strncpy(request.ifr_name, words[2], IFNAMSIZ - 1);
    if (ask("TUNSETIFF", fd, TUNSETIFF, &request) < 0) return 2;
    if (flags & IFF_VNET_HDR) {
        if (ask("TUNSETVNETHDRSZ", fd, TUNSETVNETHDRSZ, &size) < 0) return 3;
        before += size;
    }
    if (!(flags & IFF_NO_PI)) before += 4;
    ask("TUNGETFEATURES", fd, TUNGETFEATURES, &features);
    ask("TUNGETIFF", fd, TUNGETIFF, &told);
    printf("is %s %s %x\n", request.ifr_name, told.ifr_name, (unsigned short)told.ifr_flags);
    printf("features %x\n", features);
    ask("TUNSETOWNER", fd, TUNSETOWNER, (void *)(long)getuid());
    ask("TUNSETOFFLOAD", fd, TUNSETOFFLOAD, (void *)7);
    ask("TUNSETPERSIST to 1", fd, TUNSETPERSIST, (void *)1);
    ask("TUNSETPERSIST", fd, TUNSETPERSIST, (void *)0);

    strcpy(told.ifr_name, request.ifr_name);
    ask("SIOCGIFINDEX", any, SIOCGIFINDEX, &told);
    memset(told.ifr_name, 0, IFNAMSIZ);
    ask("SIOCGIFNAME", any, SIOCGIFNAME, &told);
    printf("index %d %s\n", told.ifr_ifindex == (int)if_nametoindex(request.ifr_name), told.ifr_name);
    ask("SIOCGIFHWADDR", any, SIOCGIFHWADDR, &told);
    printf("hardware %d %d\n", told.ifr_hwaddr.sa_family, told.ifr_hwaddr.sa_data[0] & 3);
    told.ifr_hwaddr.sa_data[5] = 0x77;
    ask("SIOCSIFHWADDR", any, SIOCSIFHWADDR, &told);
    ask("SIOCGIFHWADDR", any, SIOCGIFHWADDR, &told);
    printf("hardware %d %02x\n", told.ifr_hwaddr.sa_family, (unsigned char)told.ifr_hwaddr.sa_data[5]);
    told.ifr_flags = IFF_UP;
    ask("SIOCSIFFLAGS", any, SIOCSIFFLAGS, &told);
    ask("SIOCGIFFLAGS", any, SIOCGIFFLAGS, &told);
    printf("up %d\n", !!(told.ifr_flags & IFF_UP));
    ask("SIOCGIFADDR", any, SIOCGIFADDR, &told);
    ask("SIOCGIFMTU", any, SIOCGIFMTU, &told);
    ask_device(fd, request.ifr_name);
    write_nothing(fd);
    printf("mtu %d\n", told.ifr_mtu);

    unsigned char frame[4096];
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        poll(&ready, 1, -1);
        ssize_t length = read(fd, frame, sizeof frame);
        if (length < 0 && errno == EAGAIN) continue;
        if (length <= 0) { printf("end %zd\n", length); return length ? 4 : 0; }
        unsigned char *bare = frame + before;
        if (length < before + 16 || bare[12] != 0x88 || bare[13] != 0xb5) continue;
        if (!(flags & IFF_NO_PI)) printf("protocol %02x%02x\n", frame[2], frame[3]);
        unsigned char source[6];
        memcpy(source, bare + 6, 6);
        memcpy(bare + 6, "\2\0\0\0\0\x55", 6);
        memcpy(bare, source, 6);
        if (bare[14] == 'x') return bare[15] - '0';
        if (write(fd, frame, (size_t)length) != length) printf("write: %s\n", strerror(errno));
    }
}
