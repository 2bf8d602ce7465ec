//! A request's body on its way out: held until the backend's window has room, moved on while the response is awaited.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;

use crate::upstream::gate::Gate;

#[derive(Debug)]
pub(super) struct Outgoing {
    send: SendStream<Bytes>,
    held: VecDeque<Bytes>,
    bytes: usize,
    end: End,
    gate: Arc<Gate>,
}

#[derive(Debug)]
enum End {
    /// More may come.
    Open,
    /// After what is held.
    Due(Option<HeaderMap>),
    Sent,
}

impl Outgoing {
    pub(super) fn new(send: SendStream<Bytes>, ended: bool, gate: Arc<Gate>) -> Self {
        Self { send, held: VecDeque::new(), bytes: 0, end: if ended { End::Sent } else { End::Open }, gate }
    }

    /// False: the end was said already.
    pub(super) fn push(&mut self, chunk: Bytes) -> bool {
        if !matches!(self.end, End::Open) {
            return false;
        }
        self.bytes += chunk.len();
        self.held.push_back(chunk);
        self.send.reserve_capacity(self.bytes);
        self.gate.set(self.bytes);
        true
    }

    pub(super) fn finish(&mut self, trailers: Option<HeaderMap>) {
        if matches!(self.end, End::Open) {
            self.end = End::Due(trailers);
        }
    }

    pub(super) fn is_sent(&self) -> bool {
        matches!(self.end, End::Sent)
    }

    /// Moves on what the windows allow; pending while something is held. Errors are the response's to tell.
    pub(super) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while let Some(chunk) = self.held.front_mut() {
            let mut room = self.send.capacity();
            if room == 0 {
                match self.send.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(granted))) => room = granted,
                    Poll::Ready(Some(Err(error))) => return self.give_up(error),
                    // The stream is closed for sending: an early answer, most often.
                    Poll::Ready(None) => {
                        self.forget();
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Pending => return Poll::Pending,
                }
                if room == 0 {
                    continue;
                }
            }
            let piece = chunk.split_to(room.min(chunk.len()));
            let whole = chunk.is_empty();
            self.bytes -= piece.len();
            let last = whole && self.held.len() == 1 && matches!(self.end, End::Due(None));
            if whole {
                self.held.pop_front();
            }
            if let Err(error) = self.send.send_data(piece, last) {
                return self.give_up(error);
            }
            self.gate.set(self.bytes);
            if last {
                self.end = End::Sent;
            }
        }
        match std::mem::replace(&mut self.end, End::Sent) {
            End::Open => self.end = End::Open,
            End::Sent => {}
            End::Due(trailers) => {
                let said = match trailers {
                    Some(trailers) => self.send.send_trailers(trailers),
                    None => self.send.send_data(Bytes::new(), true),
                };
                if let Err(error) = said {
                    return self.give_up(error);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn give_up(&mut self, error: h2::Error) -> Poll<Result<(), h2::Error>> {
        self.forget();
        Poll::Ready(Err(error))
    }

    fn forget(&mut self) {
        self.held.clear();
        self.bytes = 0;
        self.end = End::Sent;
        self.gate.set(0);
    }
}
