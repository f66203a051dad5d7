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
#define TUNSETVNETHDRSZ _IOW('T', 216, int)
#define IFF_NO_PI 0x1000
#define IFF_VNET_HDR 0x4000

static int ask(const char *what, int fd, unsigned long request, void *argument) {
    int result = ioctl(fd, request, argument);
    if (result < 0) printf("%s: %s\n", what, strerror(errno));
    return result;
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int flags = (int)strtol(words[1], NULL, 16), before = 0, size = 12;
    unsigned features = 0;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK), any = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) { perror("open"); return 1; }
    struct ifreq request = {.ifr_flags = (short)flags}, told = {0};
    if (count > 2) strncpy(request.ifr_name, words[2], IFNAMSIZ - 1);
    if (ask("TUNSETIFF", fd, TUNSETIFF, &request) < 0) return 2;
    if (flags & IFF_VNET_HDR) {
        if (ask("TUNSETVNETHDRSZ", fd, TUNSETVNETHDRSZ, &size) < 0) return 3;
        before += size;
    }
    if (!(flags & IFF_NO_PI)) before += 4;
    ask("TUNGETFEATURES", fd, TUNGETFEATURES, &features);
    ask("TUNGETIFF", fd, TUNGETIFF, &told);
    printf("is %s %s %x %x\n", request.ifr_name, told.ifr_name, (unsigned short)told.ifr_flags, features);
    ask("TUNSETOWNER", fd, TUNSETOWNER, (void *)(long)getuid());
    ask("TUNSETOFFLOAD", fd, TUNSETOFFLOAD, (void *)7);
    ask("TUNSETPERSIST", fd, TUNSETPERSIST, (void *)0);
    ask("TUNSETPERSIST to 1", fd, TUNSETPERSIST, (void *)1);

    strcpy(told.ifr_name, request.ifr_name);
    ask("SIOCGIFINDEX", any, SIOCGIFINDEX, &told);
    memset(told.ifr_name, 0, IFNAMSIZ);
    ask("SIOCGIFNAME", any, SIOCGIFNAME, &told);
    printf("index %d %s\n", told.ifr_ifindex == (int)if_nametoindex(request.ifr_name), told.ifr_name);
    ask("SIOCGIFHWADDR", any, SIOCGIFHWADDR, &told);
    printf("hardware %d %02x\n", told.ifr_hwaddr.sa_family, (unsigned char)told.ifr_hwaddr.sa_data[5]);
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
