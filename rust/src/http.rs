//! An HTTP/1.1 server: hyper on one thread. Requests are handed over whole, on a few threads of their own; answers come
//! back whole or piece by piece, from any thread.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::{c_char, c_int, c_void};
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderName, HeaderValue, AUTHORIZATION, CONNECTION, CONTENT_TYPE, EXPECT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch, Semaphore};
use tokio::time::{sleep, timeout, Sleep};

use crate::abi::{guarded, OckhamText};

#[repr(C)]
pub struct OckhamHttpRequest {
    id: u64,
    problem: c_int,
    method: OckhamText,
    path: OckhamText,
    authorization: OckhamText,
    body: OckhamText,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct OckhamHttpOptions {
    host: OckhamText,
    port: u16,
    most_body_bytes: usize,
    most_connections: usize,
    worker_threads: usize,
    read_timeout_ms: u64,
    write_timeout_ms: u64,
    context: *mut c_void,
    on_request: extern "C" fn(*mut c_void, *const OckhamHttpRequest),
    on_gone: extern "C" fn(*mut c_void, u64),
}

struct Head {
    status: StatusCode,
    content_type: HeaderValue,
    further: Option<(HeaderName, HeaderValue)>,
}

enum Slot {
    Waiting(oneshot::Sender<(Head, Answer)>),
    Streaming(UnboundedSender<Bytes>),
}

struct Shared {
    options: OckhamHttpOptions,
    next: AtomicU64,
    open: AtomicUsize,
    slots: Mutex<HashMap<u64, Slot>>,
}

// The context belongs to the caller, whose functions may be called from any thread.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, HashMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn gone(&self, id: u64) {
        (self.options.on_gone)(self.options.context, id)
    }
    fn read_timeout(&self) -> Duration {
        Duration::from_millis(self.options.read_timeout_ms)
    }
}

/// Says that the client is gone when it is dropped before the answer has ended.
struct Guard {
    shared: Arc<Shared>,
    id: u64,
    is_done: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.slots().remove(&self.id);
        if !self.is_done {
            self.shared.gone(self.id);
        }
    }
}

/// The body of an answer: one text, or pieces until their sender is dropped.
struct Answer {
    whole: Option<Bytes>,
    pieces: Option<UnboundedReceiver<Bytes>>,
    guard: Option<Guard>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(pieces) = self.pieces.as_mut() else {
            return Poll::Ready(self.whole.take().map(|text| Ok(Frame::data(text))));
        };
        match pieces.poll_recv(cx) {
            Poll::Ready(None) => {
                if let Some(guard) = self.guard.as_mut() {
                    guard.is_done = true;
                }
                Poll::Ready(None)
            }
            other => other.map(|piece| piece.map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none() && self.whole.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.pieces, &self.whole) {
            (Some(_), _) => SizeHint::default(),
            (None, text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}

/// A connection whose writes fail when the client takes nothing for a while.
struct Connection {
    stream: TcpStream,
    patience: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.deadline = None;
            return result;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, from);
        self.watch(cx, result)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.watch(cx, result)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The whole body, or the status that says why there is none. What is too long is read and dropped, up to a point:
/// many clients look for an answer only when they have sent all.
async fn read_body(shared: &Shared, mut body: Incoming, expects: bool) -> Result<Vec<u8>, c_int> {
    let most = shared.options.most_body_bytes as u64;
    let announced = body.size_hint().lower();
    if announced > most && expects {
        return Err(413);
    }
    let mut text = Vec::with_capacity(announced.min(most) as usize);
    let mut total = 0u64;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| 400)?.into_data() else {
            continue;
        };
        total += data.len() as u64;
        if total > most {
            text = Vec::new();
            if total > most.saturating_mul(16) {
                break;
            }
        } else if announced <= most {
            text.extend_from_slice(&data);
        }
    }
    if total > most {
        return Err(413);
    }
    Ok(text)
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let (parts, body) = request.into_parts();
    let expects = parts.headers.contains_key(EXPECT);
    let (problem, text) = match timeout(shared.read_timeout(), read_body(&shared, body, expects)).await {
        Ok(Ok(text)) => (0, text),
        Ok(Err(status)) => (status, Vec::new()),
        Err(_) => (408, Vec::new()),
    };
    let id = shared.next.fetch_add(1, Ordering::Relaxed);
    let (sender, receiver) = oneshot::channel();
    shared.slots().insert(id, Slot::Waiting(sender));
    let mut guard = Guard { shared: shared.clone(), id, is_done: false };
    let caller = shared.clone();
    tokio::task::spawn_blocking(move || {
        let authorization = parts.headers.get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
        let handed = OckhamHttpRequest {
            id,
            problem,
            method: OckhamText::of(parts.method.as_str().as_bytes()),
            path: OckhamText::of(parts.uri.path().as_bytes()),
            authorization: OckhamText::of(authorization),
            body: OckhamText::of(&text),
        };
        (caller.options.on_request)(caller.options.context, &handed);
        // The client may have left before anybody could take note of it.
        if !caller.slots().contains_key(&id) {
            caller.gone(id);
        }
    });
    let Ok((head, mut body)) = receiver.await else {
        let mut refused = Response::new(Answer { whole: Some(Bytes::new()), pieces: None, guard: None });
        *refused.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(refused);
    };
    if body.pieces.is_some() {
        body.guard = Some(guard);
    } else {
        guard.is_done = true;
    }
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, head.content_type);
    if let Some((name, value)) = head.further {
        headers.insert(name, value);
    }
    headers.insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-cache"));
    if problem != 0 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let patience = Duration::from_millis(shared.options.write_timeout_ms);
    let io = TokioIo::new(Connection { stream, patience, deadline: None });
    let service = {
        let shared = shared.clone();
        service_fn(move |request| answer(shared.clone(), request))
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.read_timeout())
        .serve_connection(io, service);
    tokio::pin!(connection);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stop.wait_for(|stop| *stop), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn accept_all(shared: Arc<Shared>, listener: tokio::net::TcpListener, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(shared.options.most_connections));
    loop {
        let stream = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            stream = async {
                let place = room.clone().acquire_owned().await;
                listener.accept().await.map(|(stream, _)| (stream, place))
            } => stream,
        };
        let Ok((stream, place)) = stream else {
            sleep(Duration::from_millis(100)).await; // no file descriptor is left
            continue;
        };
        let (shared, stop) = (shared.clone(), stop.clone());
        shared.open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            serve(shared.clone(), stream, stop).await;
            shared.open.fetch_sub(1, Ordering::SeqCst);
            drop(place);
        });
    }
}

pub struct OckhamHttp {
    shared: Arc<Shared>,
    port: u16,
    stop: watch::Sender<bool>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_http_start(
    options: *const OckhamHttpOptions,
    out: *mut *mut OckhamHttp,
) -> *mut c_char {
    guarded(|| {
        let options = *options;
        let host = options.host.text()?.to_string();
        let explain = |e: io::Error| format!("cannot listen on {host}, port {}: {e}", options.port);
        let listener = TcpListener::bind((host.as_str(), options.port)).map_err(explain)?;
        listener.set_nonblocking(true).map_err(explain)?;
        let port = listener.local_addr().map_err(explain)?.port();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(options.worker_threads.max(1))
            .build()
            .map_err(explain)?;
        let shared = Arc::new(Shared {
            options,
            next: AtomicU64::new(1),
            open: AtomicUsize::new(0),
            slots: Mutex::new(HashMap::new()),
        });
        let (stop, stopping) = watch::channel(false);
        let (end, ending) = oneshot::channel();
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(async move {
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    tokio::spawn(accept_all(own, listener, stopping));
                }
                let _ = ending.await;
            });
            drop(runtime); // waits for calls that are under way
        });
        let thread = Some(thread.map_err(explain)?);
        *out = Box::into_raw(Box::new(OckhamHttp { shared, port, stop, end: Some(end), thread }));
        Ok(())
    })
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_http_port(server: *const OckhamHttp) -> u16 {
    (*server).port
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_http_connections(server: *const OckhamHttp) -> usize {
    let server = &*server;
    server.shared.open.load(Ordering::SeqCst)
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_http_answer(
    server: *const OckhamHttp,
    id: u64,
    status: c_int,
    content_type: OckhamText,
    header: OckhamText,
    value: OckhamText,
    body: OckhamText,
    is_stream: c_int,
) {
    let server = &*server;
    let outcome = guarded(|| {
        let head = Head {
            status: StatusCode::from_u16(status as u16).map_err(|e| e.to_string())?,
            content_type: HeaderValue::from_bytes(content_type.bytes()).map_err(|e| e.to_string())?,
            further: match header.bytes() {
                [] => None,
                name => Some((
                    HeaderName::from_bytes(name).map_err(|e| e.to_string())?,
                    HeaderValue::from_bytes(value.bytes()).map_err(|e| e.to_string())?,
                )),
            },
        };
        let text = Bytes::copy_from_slice(body.bytes());
        let mut slots = server.shared.slots();
        let Some(slot) = slots.remove(&id) else { return Ok(()) };
        let Slot::Waiting(sender) = slot else {
            return Err("a request is answered twice".into());
        };
        if is_stream == 0 {
            let _ = sender.send((head, Answer { whole: Some(text), pieces: None, guard: None }));
            return Ok(());
        }
        let (pieces, receiver) = unbounded_channel();
        if !text.is_empty() {
            let _ = pieces.send(text);
        }
        slots.insert(id, Slot::Streaming(pieces));
        let _ = sender.send((head, Answer { whole: None, pieces: Some(receiver), guard: None }));
        Ok(())
    });
    crate::abi::ockham_error_free(outcome); // a mistake of the caller's: the client gets no answer
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_http_send(server: *const OckhamHttp, id: u64, text: OckhamText) {
    let server = &*server;
    let text = Bytes::copy_from_slice(text.bytes());
    if let Some(Slot::Streaming(pieces)) = server.shared.slots().get(&id) {
        let _ = pieces.send(text);
    }
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_http_end(server: *const OckhamHttp, id: u64) {
    let server = &*server;
    server.shared.slots().remove(&id);
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_http_close(server: *const OckhamHttp) {
    let _ = (*server).stop.send(true);
}

/// # Safety
/// See ockham_rust.h.
#[no_mangle]
pub unsafe extern "C" fn ockham_http_free(server: *mut OckhamHttp) {
    if server.is_null() {
        return;
    }
    let mut server = Box::from_raw(server);
    let _ = server.stop.send(true);
    drop(server.end.take());
    if let Some(thread) = server.thread.take() {
        let _ = thread.join();
    }
}
