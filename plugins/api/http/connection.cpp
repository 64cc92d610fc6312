#include "connection.h"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <deque>
#include <sstream>

namespace orch::api::http {

namespace {

namespace asio = boost::asio;
namespace protocol = boost::beast::http;
using asio::ip::tcp;
using Code = boost::system::error_code;
using Secured = asio::ssl::stream<tcp::socket>;

void setHeaders(protocol::fields& fields, const Answer& answer) {
  fields.set(protocol::field::content_type, answer.type);
  fields.set(protocol::field::cache_control, "no-store");
  fields.set("X-Content-Type-Options", "nosniff");
  for (auto& [name, value] : answer.headers) fields.set(name, value);
}

// Owned by the operations that are under way for it and, while it waits for an answer, by the hall.
template <typename Stream>
class ConnectionOn final : public Connection,
                           public std::enable_shared_from_this<ConnectionOn<Stream>> {
 public:
  static constexpr bool SECURE = std::is_same_v<Stream, Secured>;

  template <typename... Args>
  explicit ConnectionOn(Hall& hall, Args&&... args)
      : hall(hall), stream(std::forward<Args>(args)...), deadline(stream.get_executor()) {
    ++hall.figures.connections;
  }
  ~ConnectionOn() override {
    --hall.figures.connections;
    hall.figures.bytes -= text.size();
  }

  void start() {
    if constexpr (SECURE) {
      state = State::READING;
      within(hall.settings.requestMs);
      stream.async_handshake(asio::ssl::stream_base::server,
                             [self = this->shared_from_this()](Code error) {
                               if (error) return self->end();
                               self->read(self->hall.settings.requestMs);
                             });
    } else {
      read(hall.settings.requestMs);
    }
  }

  void answer(Answer given) override {
    if (state != State::ASKED) return;
    state = State::WRITING;
    take(std::move(given.body));
    within(Net::WRITE_MS);
    if (given.more) return writeHead(given);
    auto& response = whole.emplace(static_cast<protocol::status>(given.status), version);
    setHeaders(response, given);
    response.keep_alive(keepAlive);
    response.content_length(text.size());
    if (!head) response.body() = boost::beast::span<const char>(text.data(), text.size());
    protocol::async_write(stream, response, [self = this->shared_from_this()](Code error, size_t) {
      self->answered(error);
    });
  }

  void send(std::string part, bool last) override {
    if (state == State::WRITING && begun) {
      next.emplace_back(std::move(part), last);
      return;
    }
    if (state != State::STREAMING) return;
    state = State::WRITING;
    take(std::move(part));
    within(Net::WRITE_MS);
    auto written = [self = this->shared_from_this(), last](Code error, size_t) {
      if (error || last) return self->answered(error);
      self->partWritten();
    };
    if (!chunked) return asio::async_write(stream, asio::buffer(text), std::move(written));
    if (!text.empty()) frame = (std::ostringstream() << std::hex << text.size() << "\r\n").str();
    std::array<asio::const_buffer, 4> parts{
        asio::buffer(frame), asio::buffer(text),
        text.empty() ? asio::const_buffer() : asio::buffer("\r\n", 2),
        last ? asio::buffer("0\r\n\r\n", 5) : asio::const_buffer()};
    if (text.empty()) parts[0] = asio::const_buffer();
    asio::async_write(stream, parts, std::move(written));
  }

 private:
  static constexpr size_t FIRST_BYTES = 4096;
  enum class State { READING, ASKED, WRITING, STREAMING, ENDED };

  void take(std::string fresh) {
    hall.figures.bytes += fresh.size();
    hall.figures.bytes -= text.size();
    text = std::move(fresh);
  }
  void within(unsigned ms) {
    waiting = true;
    deadline.expires_after(std::chrono::milliseconds(ms));
    deadline.async_wait([self = this->shared_from_this()](Code error) {
      // May have been queued when it was set anew, or was not needed any more.
      bool due = self->deadline.expiry() <= std::chrono::steady_clock::now();
      if (!error && self->waiting && due) self->late();
    });
  }
  void inTime() {
    waiting = false;
    deadline.cancel();
  }
  void late() {
    waiting = false;
    if (state != State::READING) return end();
    tooSlow = true;
    Code ignored;
    plain().cancel(ignored);
  }

  // The time for a head begins with its first bytes.
  void read(unsigned idleMs) {
    state = State::READING;
    if (buffer.size() > 0) return readHead();
    within(idleMs);
    stream.async_read_some(buffer.prepare(FIRST_BYTES),
                           [self = this->shared_from_this()](Code error, size_t count) {
                             if (error) return self->end();
                             self->buffer.commit(count);
                             self->readHead();
                           });
  }
  void readHead() {
    tooSlow = false;
    parser.emplace();
    parser->header_limit(Net::MAX_HEAD_BYTES);
    parser->body_limit(boost::none);
    within(hall.settings.requestMs);
    protocol::async_read_header(
        stream, buffer, *parser,
        [self = this->shared_from_this()](Code error, size_t) { self->taken(error); });
  }

  void taken(Code error) {
    inTime();
    version = 11;
    keepAlive = head = false;
    if (error == protocol::error::header_limit || error == protocol::error::buffer_overflow) {
      return refuse(431, "the head of a request may have 16 KiB");
    }
    if (tooSlow) {
      return refuse(408, "the head of the request did not come in time");
    }
    if (!error) return ask();
    bool ended =
        error == protocol::error::end_of_stream || error == protocol::error::partial_message;
    auto& wrong = protocol::make_error_code(protocol::error::bad_version).category();
    if (ended || error.category() != wrong) return end();
    refuse(400, "this is no request of HTTP/1.1: " + error.message());
  }

  void ask() {
    auto& message = parser->get();
    version = message.version() == 10 ? 10 : 11;
    bool body = parser->chunked() || parser->content_length().value_or(0) > 0;
    keepAlive = message.keep_alive() && !body;
    head = message.method() == protocol::verb::head;
    Request request;
    auto text = [&](auto name) {
      auto found = message[name];
      return std::string(found.data(), found.size());
    };
    request.host = hostOf(text(protocol::field::host));
    request.authorization = text(protocol::field::authorization);
    request.accept = text(protocol::field::accept);
    request.lastEventId = text("Last-Event-ID");
    request.idempotencyKey = text("Idempotency-Key");
    auto target = message.target();
    if (!readTarget({target.data(), target.size()}, request)) {
      return refuse(400, "the path of the request cannot be read");
    }
    request.changes = message.method() == protocol::verb::post;
    if (!head && !request.changes && message.method() != protocol::verb::get) {
      Answer answer = refusal(405, "only GET, HEAD and, for a few paths, POST");
      answer.headers.emplace_back("Allow", "GET, HEAD, POST");
      return refuse(std::move(answer));
    }
    if (request.changes && body) {
      return refuse(413, "a POST has no body here: what is to be done stands in the path");
    }
    state = State::ASKED;
    id = hall.open(this->shared_from_this(), std::move(request));
  }

  void refuse(unsigned status, const std::string& why) { refuse(refusal(status, why)); }
  void refuse(Answer given) {
    ++hall.figures.refused;
    keepAlive = false;
    state = State::ASKED;
    answer(std::move(given));
  }

  void writeHead(const Answer& given) {
    chunked = version == 11;
    keepAlive = false;
    auto& response = begun.emplace(static_cast<protocol::status>(given.status), version);
    setHeaders(response, given);
    response.keep_alive(keepAlive);
    if (chunked) response.chunked(true);
    auto& serializer = beginning.emplace(response);
    protocol::async_write_header(stream, serializer,
                                 [self = this->shared_from_this()](Code error, size_t) {
                                   if (error || self->head) return self->answered(error);
                                   self->watch();
                                   self->partWritten();
                                 });
  }
  void partWritten() {
    if (state != State::WRITING) return;
    inTime();
    state = State::STREAMING;
    hall.events.written(id);
    if (next.empty()) return;
    auto [part, last] = std::move(next.front());
    next.pop_front();
    send(std::move(part), last);
  }
  // While an answer goes on nothing is to come from the client but its end.
  void watch() {
    stream.async_read_some(asio::buffer(&unexpected, 1),
                           [self = this->shared_from_this()](Code, size_t) { self->end(); });
  }

  void answered(Code error) {
    inTime();
    hall.close(id, error || begun.has_value());
    whole.reset();
    beginning.reset();
    begun.reset();
    take({});
    next.clear();
    if (state == State::ENDED) return;
    if (error) return end();
    if (keepAlive) return read(Net::IDLE_MS);
    sayFarewell();
  }
  // What a client has sent and nobody read would take the answer away from it, if the socket were
  // closed at once.
  void sayFarewell() {
    state = State::WRITING;
    within(Net::FAREWELL_MS);
    if constexpr (SECURE) {
      stream.async_shutdown([self = this->shared_from_this()](Code) { self->end(); });
    } else {
      Code error;
      stream.shutdown(tcp::socket::shutdown_send, error);
      if (error) return end();
      drain();
    }
  }
  void drain() {
    buffer.clear();
    stream.async_read_some(buffer.prepare(4096),
                           [self = this->shared_from_this()](Code error, size_t) {
                             if (error || self->state == State::ENDED) return self->end();
                             self->drain();
                           });
  }

  void end() {
    if (state == State::ENDED) return;
    state = State::ENDED;
    hall.close(id, true);
    inTime();
    Code ignored;
    plain().close(ignored);
  }
  tcp::socket& plain() {
    if constexpr (SECURE) {
      return stream.next_layer();
    } else {
      return stream;
    }
  }

  Hall& hall;
  Stream stream;
  asio::steady_timer deadline;
  State state = State::READING;
  boost::beast::flat_buffer buffer{Net::MAX_HEAD_BYTES + 4096};
  std::optional<protocol::request_parser<protocol::empty_body>> parser;
  uint64_t id = 0;
  unsigned version = 11;
  bool waiting = false;  // whether the deadline counts
  bool tooSlow = false, head = false, keepAlive = false, chunked = false;
  char unexpected = 0;
  std::string text, frame;  // that are being written
  std::deque<std::pair<std::string, bool>> next;
  std::optional<protocol::response<protocol::span_body<const char>>> whole;
  std::optional<protocol::response<protocol::empty_body>> begun;
  std::optional<protocol::response_serializer<protocol::empty_body>> beginning;
};

}  // namespace

void startConnection(Hall& hall, tcp::socket socket) {
  if (hall.tls) {
    std::make_shared<ConnectionOn<Secured>>(hall, std::move(socket), *hall.tls)->start();
  } else {
    std::make_shared<ConnectionOn<tcp::socket>>(hall, std::move(socket))->start();
  }
}

}  // namespace orch::api::http
