// AMX tiles of 16 rows of 64 bytes: four sums, two left and two right operands. As left operand a tile is 16 rows of 64
// int8 or 32 bf16; as right operand 16 quads of 16 int8 lanes or 16 pairs of 16 bf16 lanes.

struct alignas(64) TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles are configured from here to the end of the scope. One product takes `depth` bytes of each left row, 64 or less,
// and depth / 4 right rows.
class Tiles {
 public:
  explicit Tiles(int64_t depth = 64) {
    TileConfig config;
    for (int i = 0; i < 8; ++i) {
      config.bytes[i] = static_cast<uint16_t>(i == 4 || i == 5 ? depth : 64);
      config.rows[i] = static_cast<uint8_t>(i >= 6 ? depth / 4 : 16);
    }
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~Tiles() { asm volatile("tilerelease" ::: "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

template <int kTile>
OCKHAM_INLINE void load_tile(const void* from, int64_t stride_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride_bytes), "i"(kTile) : "memory");
}
template <int kTile>
OCKHAM_INLINE void store_tile(void* to, int64_t stride_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride_bytes), "i"(kTile) : "memory");
}
template <int kTile>
OCKHAM_INLINE void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
// sum += left * right, both signed
template <int kSum, int kLeft, int kRight>
OCKHAM_INLINE void multiply_int8() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kLeft), "i"(kRight));
}
template <int kSum, int kLeft, int kRight>
OCKHAM_INLINE void multiply_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kLeft), "i"(kRight));
}

constexpr int kSumTiles = 4, kLeftTile = 4, kRightTile = 6;
constexpr int64_t kTileRows = 16, kTileBytes = 1024, kTileWords = 256;

OCKHAM_INLINE void zero_sums() {
  zero_tile<0>();
  zero_tile<1>();
  zero_tile<2>();
  zero_tile<3>();
}
